# Figures 1 and 2 of the paper, and those that it should have shown.


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
        mem_mb=escalating(4000),
        runtime=escalating(30),
    params:
        cohort=study.cohort,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.figure1 --model {params.model:q}"
        " --cohort {params.cohort:q} --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule figure2:
    # Image, truth, denoising trajectory, ensemble mean and variance; of each target the case with the median Dice.
    input:
        code=modules("evaluation.paper.figure2"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
        volumes=volumes(),
        cases="<results>/scores/cases.csv",
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
        mem_mb=escalating(16000),
        runtime=escalating(60),
        gpu=1,
        launcher="",
    params:
        settings=section("segmentation"),
        cohort=study.cohort,
        seed=study.seed,
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.evaluation.paper.figure2 --model {params.model:q}"
        " --cases {input.cases:q} --volumes {input.volumes:q} --settings {params.settings:q}"
        " --study-seed {params.seed:q} --threads {params.threads:q} --cohort {params.cohort:q}"
        " --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


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
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.curves --logs {input.logs:q} --cohort {params.cohort:q}"
        " --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule sampling_sweep:
    # Dice over steps, ensemble, gate and warm start; its seconds are this machine's, with whatever else it does.
    input:
        code=modules("evaluation.sampling.sweep"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        csv="<results>/tables/sampling.csv",
        md="<results>/tables/sampling.md",
        tex="<results>/tables/sampling.tex",
        rows="<results>/scores/sampling.csv",
        png=report(
            "<results>/figures/sampling.png",
            caption="../report/sampling.rst",
            category="Figures",
            labels={"what": "Dice against steps and ensemble"},
        ),
        svg="<results>/figures/sampling.svg",
        seconds_csv="<results>/tables/sampling_seconds.csv",
        seconds_md="<results>/tables/sampling_seconds.md",
        seconds_tex="<results>/tables/sampling_seconds.tex",
        seconds_rows="<results>/scores/sampling_seconds.csv",
        seconds_png=report(
            "<results>/figures/sampling_seconds.png",
            caption="../report/sampling_seconds.rst",
            category="Figures",
            labels={"what": "Dice against seconds"},
        ),
        seconds_svg="<results>/figures/sampling_seconds.svg",
    log:
        "<logs>/sampling_sweep.log",
    benchmark:
        "<benchmarks>/sampling_sweep.tsv"
    conda:
        "../../envs/train.yaml"
    threads: study.threads
    resources:
        mem_mb=escalating(32000),
        runtime=escalating(720),
        gpu=1,
        launcher="",
    params:
        settings=section("segmentation"),
        sweep=section("sweep"),
        cohort=study.cohort,
        seed=study.seed,
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.evaluation.sampling.sweep --model {params.model:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --settings {params.settings:q} --sweep {params.sweep:q}"
        " --study-seed {params.seed:q} --threads {params.threads:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} --output-rows {output.rows:q}"
        " --output-png {output.png:q} --output-svg {output.svg:q}"
        " --output-seconds-csv {output.seconds_csv:q} --output-seconds-md {output.seconds_md:q}"
        " --output-seconds-tex {output.seconds_tex:q} --output-seconds-rows {output.seconds_rows:q}"
        " --output-seconds-png {output.seconds_png:q} --output-seconds-svg {output.seconds_svg:q} > {log:q} 2>&1"


rule latent_cost:
    # Operations in latent and in pixel space over the steps, and where they go.
    input:
        code=modules("evaluation.figures.latent_cost"),
        cost="<results>/tables/cost.csv",
        networks="<results>/tables/networks.csv",
    output:
        png=report(
            "<results>/figures/latent_cost.png",
            caption="../report/latent_cost.rst",
            category="Figures",
            labels={"what": "latent against pixel cost"},
        ),
        svg="<results>/figures/latent_cost.svg",
    log:
        "<logs>/latent_cost.log",
    benchmark:
        "<benchmarks>/latent_cost.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figures.latent_cost --cost {input.cost:q} --networks {input.networks:q}"
        " --cohort {params.cohort:q} --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule ceilings:
    # Per target the auto-encoder's ceiling and the best variant below it, on the same cases.
    input:
        code=modules("evaluation.figures.ceilings"),
        ceilings=collect(
            "<results>/models/{model}/ceiling.csv",
            model=MASK_AUTOENCODERS,
        ),
        cases="<results>/scores/cases.csv",
    output:
        png=report(
            "<results>/figures/ceilings.png",
            caption="../report/ceilings.rst",
            category="Figures",
            labels={"what": "what limits each target"},
        ),
        svg="<results>/figures/ceilings.svg",
    log:
        "<logs>/ceilings.log",
    benchmark:
        "<benchmarks>/ceilings.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figures.ceilings --ceilings {input.ceilings:q} --cases {input.cases:q}"
        " --cohort {params.cohort:q} --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule distributions:
    # Every case's Dice as a point, per target and system.
    input:
        code=modules("evaluation.figures.distributions"),
        cases="<results>/scores/cases.csv",
    output:
        png=report(
            "<results>/figures/distributions.png",
            caption="../report/distributions.rst",
            category="Figures",
            labels={"what": "Dice of every case"},
        ),
        svg="<results>/figures/distributions.svg",
    log:
        "<logs>/distributions.log",
    benchmark:
        "<benchmarks>/distributions.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figures.distributions --cases {input.cases:q}"
        " --cohort {params.cohort:q} --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule worst:
    # The lowest Dice of each target, and what went wrong there.
    input:
        code=modules("evaluation.figures.worst"),
        cases="<results>/scores/cases.csv",
        predictions=collect(
            "<results>/predictions/mask_clip/{shard}",
            shard=shards(study.shards),
        ),
        volumes=volumes(),
    output:
        png=report(
            "<results>/figures/worst.png",
            caption="../report/worst.rst",
            category="Figures",
            labels={"what": "the worst cases"},
        ),
        svg="<results>/figures/worst.svg",
    log:
        "<logs>/worst.log",
    benchmark:
        "<benchmarks>/worst.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=escalating(8000),
        runtime=escalating(10),
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.figures.worst --cases {input.cases:q} --predictions {input.predictions:q} --volumes {input.volumes:q}"
        " --cohort {params.cohort:q} --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"
