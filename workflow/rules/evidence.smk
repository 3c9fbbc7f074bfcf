# The claims ledger, and where everything came from.


rule claims:
    # Each claim of the paper that a number can settle, and what this study measured.
    input:
        code=modules("evaluation.claims.ledger"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        logs=collect("<results>/models/{variant}/log.csv", variant=VARIANTS),
        cost="<results>/tables/cost.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"what": "claims ledger"},
        ),
        md="<results>/claims.md",
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.claims.ledger --cases {input.cases} --splits {input.splits}"
        " --logs {input.logs} --cost {input.cost} --published {input.published}"
        " --sources {params.sources:q} --weights {params.weights:q} --study-seed {params.seed} --cohort {params.cohort:q}"
        " --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule provenance:
    # Hashes of what tables and figures are drawn from, origin of every archive, versions, the whole configuration. Tables
    # and figures are left out on purpose: making one of them anew does not remake this.
    input:
        code=modules("evaluation.tracing.provenance"),
        artefacts=[
            "<results>/splits.csv",
            "<results>/leakage.csv",
            "<results>/scores/cases.csv",
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
            "config/published.csv",
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.tracing.provenance --artefacts {input.artefacts}"
        " --origins {params.origins} --study {params.study:q}"
        " --output {output.provenance} --output-machine {output.machine} > {log} 2>&1"
