# Tables 1-3, Figures 1 and 2, training curves, model cards, the claims ledger, and where everything came from.


rule table1:
    # The aggregated dataset: the paper's counts beside this study's.
    input:
        code=modules("evaluation.table1"),
        inventory="<results>/inventory.csv",
        splits="<results>/splits.csv",
        published="config/published.csv",
        own=collect("<results>/native/{source}", source=own_sources()),
    output:
        csv=report(
            "<results>/tables/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
            labels={"what": "Table 1"},
        ),
        md="<results>/tables/table1.md",
        tex="<results>/tables/table1.tex",
    log:
        "<logs>/table1.log",
    benchmark:
        "<benchmarks>/table1.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.table1 --inventory {input.inventory} --splits {input.splits}"
        " --published {input.published} --own {input.own} --cohort {params.cohort:q}"
        " --output-csv {output.csv} --output-md {output.md} --output-tex {output.tex} > {log} 2>&1"


rule table2:
    # The four variants on the MSD targets.
    input:
        code=modules("evaluation.table2"),
        cases="<results>/scores/cases.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/tables/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
            labels={"what": "Table 2"},
        ),
        md="<results>/tables/table2.md",
        tex="<results>/tables/table2.tex",
    log:
        "<logs>/table2.log",
    benchmark:
        "<benchmarks>/table2.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.table2 --cases {input.cases}"
        " --published {input.published} --cohort {params.cohort:q} --study-seed {params.seed}"
        " --output-csv {output.csv} --output-md {output.md} --output-tex {output.tex} > {log} 2>&1"


rule table3:
    # Generalisation to 3D-IRCADb.
    input:
        code=modules("evaluation.table3"),
        cases="<results>/scores/cases.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/tables/table3.csv",
            caption="../report/table3.rst",
            category="Tables",
            labels={"what": "Table 3"},
        ),
        md="<results>/tables/table3.md",
        tex="<results>/tables/table3.tex",
    log:
        "<logs>/table3.log",
    benchmark:
        "<benchmarks>/table3.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.table3 --cases {input.cases}"
        " --published {input.published} --cohort {params.cohort:q} --study-seed {params.seed}"
        " --output-csv {output.csv} --output-md {output.md} --output-tex {output.tex} > {log} 2>&1"


rule targets_table:
    # All 29 targets, low ones included.
    input:
        code=modules("evaluation.targets_table"),
        cases="<results>/scores/cases.csv",
    output:
        csv=report(
            "<results>/tables/targets.csv",
            caption="../report/targets.rst",
            category="Tables",
            labels={"what": "all 29 targets"},
        ),
        md="<results>/tables/targets.md",
    log:
        "<logs>/targets_table.log",
    benchmark:
        "<benchmarks>/targets_table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.targets_table --cases {input.cases}"
        " --cohort {params.cohort:q} --study-seed {params.seed}"
        " --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule own_table:
    # The same for one dataset that the study's user brought.
    input:
        code=modules("evaluation.targets_table"),
        cases="<results>/scores/cases.csv",
    output:
        csv=report(
            "<results>/tables/own/{source}.csv",
            caption="../report/targets.rst",
            category="Tables",
            labels={"what": "own dataset {source}"},
        ),
        md="<results>/tables/own/{source}.md",
    log:
        "<logs>/own_table/{source}.log",
    benchmark:
        "<benchmarks>/own_table/{source}.tsv"
    wildcard_constraints:
        source=one_of(own_sources()),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.targets_table --cases {input.cases}"
        " --source {wildcards.source} --cohort {params.cohort:q} --study-seed {params.seed}"
        " --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule cost:
    # Operations of latent against pixel-space diffusion.
    input:
        code=modules("evaluation.cost"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
    output:
        report(
            "<results>/tables/cost.csv",
            caption="../report/cost.rst",
            category="Tables",
            labels={"what": "cost of latent and pixel space"},
        ),
    log:
        "<logs>/cost.log",
    benchmark:
        "<benchmarks>/cost.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=section("segmentation"),
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.cost --model {params.model}"
        " --settings {params.settings:q} --output {output} > {log} 2>&1"


rule networks:
    # Parameters and operations of every network, beside denoisers of pixel space. Counted without training anything.
    input:
        code=modules("evaluation.networks"),
    output:
        csv=report(
            "<results>/tables/networks.csv",
            caption="../report/networks.rst",
            category="Tables",
            labels={"what": "networks"},
        ),
        md="<results>/tables/networks.md",
    log:
        "<logs>/networks.log",
    benchmark:
        "<benchmarks>/networks.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        study=whole_study(),
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.networks --study {params.study:q}"
        " --cohort {params.cohort:q} --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule figure1:
    # The method, drawn from the trained modules themselves.
    input:
        code=modules("evaluation.figure1"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
    output:
        png=report(
            "<results>/figures/figure1.png",
            caption="../report/figure1.rst",
            category="Figures",
            labels={"what": "Figure 1, the method"},
        ),
        svg="<results>/figures/figure1.svg",
    log:
        "<logs>/figure1.log",
    benchmark:
        "<benchmarks>/figure1.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        cohort=study.cohort,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figure1 --model {params.model}"
        " --cohort {params.cohort:q} --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"


rule figure2:
    # Image, truth, denoising trajectory, ensemble mean and variance.
    input:
        code=modules("evaluation.figure2"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        png=report(
            "<results>/figures/figure2.png",
            caption="../report/figure2.rst",
            category="Figures",
            labels={"what": "Figure 2, predictions"},
        ),
        svg="<results>/figures/figure2.svg",
    log:
        "<logs>/figure2.log",
    benchmark:
        "<benchmarks>/figure2.tsv"
    conda:
        "../../envs/train.yaml"
    threads: study.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=1,
    params:
        settings=section("segmentation"),
        cohort=study.cohort,
        seed=study.seed,
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figure2 --model {params.model}"
        " --volumes {input.volumes} --splits {input.splits} --settings {params.settings:q}"
        " --study-seed {params.seed} --threads {params.threads} --cohort {params.cohort:q}"
        " --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"


rule training_curves:
    # Loss, validation and the share of the time spent waiting for data, of every training.
    input:
        code=modules("evaluation.curves"),
        logs=collect(
            "<results>/models/{model}/log.csv",
            model=TRAININGS,
        ),
    output:
        png=report(
            "<results>/figures/training.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"what": "training curves"},
        ),
        svg="<results>/figures/training.svg",
    log:
        "<logs>/training_curves.log",
    benchmark:
        "<benchmarks>/training_curves.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.curves --logs {input.logs} --cohort {params.cohort:q}"
        " --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"


rule model_card:
    # A page beside each variant and baseline: what it is for, what it was made from, how good it is.
    input:
        code=modules("evaluation.model_card"),
        card="<results>/models/{system}/card.json",
        training=training_log,
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        ceiling="<results>/tables/autoencoder_ceiling.csv",
        provenance="<results>/provenance.json",
        machine="<results>/machine.json",
    output:
        report(
            "<results>/models/{system}/README.md",
            caption="../report/model_card.rst",
            category="Models",
            labels={"model": "{system}"},
        ),
    log:
        "<logs>/model_card/{system}.log",
    benchmark:
        "<benchmarks>/model_card/{system}.tsv"
    wildcard_constraints:
        system=one_of([*VARIANTS, *BASELINES]),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        training=training_settings,
        segmentation=section("segmentation"),
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.model_card --model {params.model} --cases {input.cases}"
        " --splits {input.splits} --ceiling {input.ceiling} --provenance {input.provenance} --machine {input.machine}"
        " {params.training:q} --sampling {params.segmentation:q} --output {output} > {log} 2>&1"


rule autoencoder_card:
    # The same beside each auto-encoder, which is scored by what it reconstructs.
    input:
        code=modules("evaluation.autoencoder_card"),
        card="<results>/models/{autoencoder}/card.json",
        training="<results>/models/{autoencoder}/log.csv",
        ceiling=own_ceiling,
        splits="<results>/splits.csv",
        provenance="<results>/provenance.json",
        machine="<results>/machine.json",
    output:
        report(
            "<results>/models/{autoencoder}/README.md",
            caption="../report/model_card.rst",
            category="Models",
            labels={"model": "{autoencoder}"},
        ),
    log:
        "<logs>/model_card/{autoencoder}.log",
    benchmark:
        "<benchmarks>/model_card/{autoencoder}.tsv"
    wildcard_constraints:
        autoencoder=one_of(AUTOENCODERS),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        training=training_settings,
        ceiling=lambda wildcards, input: [f"--ceiling={path}" for path in input.ceiling],
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.autoencoder_card --model {params.model} {params.ceiling}"
        " --splits {input.splits} --provenance {input.provenance} --machine {input.machine}"
        " {params.training:q} --output {output} > {log} 2>&1"


rule claims:
    # Each claim of the paper that a number can settle, and what this study measured.
    input:
        code=modules("evaluation.claims"),
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.claims --cases {input.cases} --splits {input.splits}"
        " --logs {input.logs} --cost {input.cost} --published {input.published}"
        " --sources {params.sources:q} --weights {params.weights:q} --study-seed {params.seed} --cohort {params.cohort:q}"
        " --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule provenance:
    # Hashes of what tables and figures are drawn from, origin of every archive, versions, the whole configuration. Tables
    # and figures are left out on purpose: making one of them anew does not remake this.
    input:
        code=modules("evaluation.provenance"),
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.provenance --artefacts {input.artefacts}"
        " --origins {params.origins} --study {params.study:q}"
        " --output {output.provenance} --output-machine {output.machine} > {log} 2>&1"
