# The claims ledger, and where everything came from.


rule claims:
    # Each claim of the paper that a number can settle, what this study measured, and the rows it was computed from.
    input:
        code=modules("evaluation.claims.settle"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        inventory="<results>/inventory.csv",
        logs=collect("<results>/models/{variant}/log.csv", variant=VARIANTS),
        cost="<results>/tables/cost.csv",
        networks="<results>/tables/networks.csv",
        sampling="<results>/tables/sampling.csv",
        table1="<results>/tables/table1.csv",
        ceiling="<results>/models/mask_autoencoder/ceiling.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"what": "claims ledger"},
        ),
        md="<results>/claims.md",
        tex="<results>/claims.tex",
        rows="<results>/claims_rows.csv",
    log:
        "<logs>/claims.log",
    benchmark:
        "<benchmarks>/claims.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        sources=section("sources"),
        weights=section("weights"),
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.claims.settle --cases {input.cases:q} --splits {input.splits:q}"
        " --inventory {input.inventory:q} --logs {input.logs:q} --cost {input.cost:q} --networks {input.networks:q}"
        " --sampling {input.sampling:q} --table1 {input.table1:q} --ceiling {input.ceiling:q} --published {input.published:q}"
        " --sources {params.sources:q} --weights {params.weights:q} --study-seed {params.seed:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} --output-rows {output.rows:q}"
        " > {log:q} 2>&1"


rule provenance:
    # Hashes of what tables and figures are drawn from, origin of every archive, versions, the whole configuration. Tables
    # and figures are left out on purpose: making one of them anew does not remake this.
    input:
        code=modules("evaluation.tracing.provenance"),
        artefacts=[
            "<results>/splits.csv",
            "<results>/leakage.csv",
            "<results>/inventory.csv",
            "<results>/scores/cases.csv",
            "<results>/scores/sampling.csv",
            *collect(
                "<results>/scores/{kind}/{system}.csv",
                kind=["parts", "inputs"],
                system=VARIANTS + BASELINES,
            ),
            *collect(
                "<results>/scores/{kind}/{system}.csv",
                kind=["reliability", "coverage"],
                system=VARIANTS,
            ),
            *collect(
                "<results>/scores/gate/{variant}/{shard}.csv",
                variant=GATED,
                shard=shards(study.shards),
            ),
            *collect(
                "<results>/models/{model}/{part}",
                model=[*AUTOENCODERS, *VARIANTS, *BASELINES],
                part=["weights.safetensors", "card.json"],
            ),
            *collect(
                "<results>/models/{autoencoder}/ceiling.csv",
                autoencoder=["mask_autoencoder", "coarser_mask_autoencoder"],
            ),
            "config/published.csv",
            "requirements.lock",
        ],
        archives=collect("<results>/native/{source}", source=study.sources),
    output:
        provenance=report(
            "<results>/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"what": "provenance"},
        ),
        machine="<results>/machine.json",
    log:
        "<logs>/provenance.log",
    benchmark:
        "<benchmarks>/provenance.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        study=whole_study(),
        origins=origins,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.tracing.provenance --artefacts {input.artefacts:q}"
        " --origins {params.origins:q} --study {params.study:q}"
        " --output {output.provenance:q} --output-machine {output.machine:q} > {log:q} 2>&1"


rule seal:
    # Hashes of every table, taken last: `universal-diffusion trace` sees by them that one was edited since.
    input:
        code=modules("evaluation.tracing.seal"),
        files=[path for path in ARTEFACTS if path.startswith(("<results>/tables/", "<results>/claims"))]
        + ["<results>/scores/sampling_seconds.csv"],
        provenance="<results>/provenance.json",
    output:
        "<results>/seal.json",
    log:
        "<logs>/seal.log",
    benchmark:
        "<benchmarks>/seal.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        results=subpath(input.provenance, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.tracing.seal --results {params.results:q}"
        " --files {input.files:q} --output {output:q} > {log:q} 2>&1"
