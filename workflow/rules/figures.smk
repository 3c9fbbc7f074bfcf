# Figures 1 and 2 of the paper, and those beyond it.


rule figure1:
    # The method, drawn from the trained modules themselves.
    input:
        code=modules("evaluation.paper.figure1"),
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.figure1 --model {params.model}"
        " --cohort {params.cohort:q} --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"


rule figure2:
    # Image, truth, denoising trajectory, ensemble mean and variance.
    input:
        code=modules("evaluation.paper.figure2"),
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.figure2 --model {params.model}"
        " --volumes {input.volumes} --splits {input.splits} --settings {params.settings:q}"
        " --study-seed {params.seed} --threads {params.threads} --cohort {params.cohort:q}"
        " --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"


rule training_curves:
    # Loss, validation and the share of the time spent waiting for data, of every training.
    input:
        code=modules("evaluation.beyond.curves"),
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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.curves --logs {input.logs} --cohort {params.cohort:q}"
        " --output-png {output.png} --output-svg {output.svg} > {log} 2>&1"
