# What is fast and frugal, measured: `snakemake benchmarks --cores 2`. One at a time; `all` asks for none of them.


rule benchmark_store:
    # Training patches: the volume store, MONAI's cached pipeline, .nii.gz.
    input:
        code=modules("benchmarks.store"),
        paper="config/paper.yaml",
    output:
        csv="benchmarks/store.csv",
        md="benchmarks/store.md",
    log:
        "<logs>/benchmark_store.log",
    benchmark:
        "<benchmarks>/benchmark_store.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=8000,
        runtime=30,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.store --paper {input.paper:q}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_layouts:
    # The store's layout beside others.
    input:
        code=modules("benchmarks.layouts"),
    output:
        csv="benchmarks/layouts.csv",
        md="benchmarks/layouts.md",
    log:
        "<logs>/benchmark_layouts.log",
    benchmark:
        "<benchmarks>/benchmark_layouts.tsv"
    localrule: True
    conda:
        "../../envs/prepare.yaml"
    threads: 64
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.layouts" " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_harmonise:
    # Peak memory and wall time of the largest scans.
    input:
        code=modules("benchmarks.harmonise"),
    output:
        csv="benchmarks/harmonise.csv",
        md="benchmarks/harmonise.md",
    log:
        "<logs>/benchmark_harmonise.log",
    benchmark:
        "<benchmarks>/benchmark_harmonise.tsv"
    localrule: True
    conda:
        "../../envs/prepare.yaml"
    threads: 64
    resources:
        mem_mb=16000,
        runtime=30,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.harmonise"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_plan:
    # Snakemake's dry run of the paper's study.
    input:
        code=modules("benchmarks.plan"),
        paper="config/paper.yaml",
    output:
        csv="benchmarks/plan.csv",
        md="benchmarks/plan.md",
    log:
        "<logs>/benchmark_plan.log",
    benchmark:
        "<benchmarks>/benchmark_plan.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 64
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        python=sys.executable,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.plan --python {params.python:q}"
        " --paper {input.paper:q} --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_training:
    # The three trainings at the paper's scale, and the denoiser's written the plain way.
    input:
        code=modules("benchmarks.training"),
        steps=modules("training.denoiser")
        + modules("training.image_autoencoder")
        + modules("training.mask_autoencoder"),
        paper="config/paper.yaml",
    output:
        csv="benchmarks/training.csv",
        md="benchmarks/training.md",
    log:
        "<logs>/benchmark_training.log",
    benchmark:
        "<benchmarks>/benchmark_training.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(30),
        gpu=1,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.training --paper {input.paper:q}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_space:
    # The denoiser in latent space beside denoisers of pixel space.
    input:
        code=modules("benchmarks.space"),
        paper="config/paper.yaml",
    output:
        csv="benchmarks/space.csv",
        md="benchmarks/space.md",
    log:
        "<logs>/benchmark_space.log",
    benchmark:
        "<benchmarks>/benchmark_space.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(30),
        gpu=1,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.space --paper {input.paper:q}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_inference:
    # A whole CT at the paper's scale beside the plain way, pixel space and discriminative 3-D networks.
    input:
        code=modules("benchmarks.inference"),
        paper="config/paper.yaml",
    output:
        csv="benchmarks/inference.csv",
        md="benchmarks/inference.md",
    log:
        "<logs>/benchmark_inference.log",
    benchmark:
        "<benchmarks>/benchmark_inference.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(32000),
        runtime=escalating(30),
        gpu=1,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.inference --paper {input.paper:q}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_segmentation:
    # A test case of the study by its trained model: the engine, its gate, and the plain way.
    input:
        code=modules("benchmarks.segmentation"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
        volumes=volumes("test"),
        splits="<results>/splits.csv",
    output:
        csv="benchmarks/segmentation.csv",
        md="benchmarks/segmentation.md",
    log:
        "<logs>/benchmark_segmentation.log",
    benchmark:
        "<benchmarks>/benchmark_segmentation.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(60),
        gpu=1,
    params:
        model=subpath(input.card, parent=True),
        overlap=study.segmentation.overlap,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.segmentation --model {params.model:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --overlap {params.overlap:q} --threads {threads}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_presets:
    # The presets of the command line from a file to all files, each a command of its own, as users run it.
    input:
        code=modules("benchmarks.presets"),
        command=modules("segmentation.command"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
    output:
        csv="benchmarks/presets.csv",
        md="benchmarks/presets.md",
    log:
        "<logs>/benchmark_presets.log",
    benchmark:
        "<benchmarks>/benchmark_presets.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(60),
        gpu=1,
    params:
        model=subpath(input.card, parent=True),
    shell:
        "unset MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_;"
        " PYTHONPATH=src python -m universal_diffusion.benchmarks.presets --model {params.model:q} --threads {threads}"
        " --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_large_ct:
    # The largest CT from file to files; without the allocator's settings that suit a training, as users run it.
    input:
        code=modules("benchmarks.large_ct"),
        paper="config/paper.yaml",
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
    output:
        csv="benchmarks/large_ct.csv",
        md="benchmarks/large_ct.md",
    log:
        "<logs>/benchmark_large_ct.log",
    benchmark:
        "<benchmarks>/benchmark_large_ct.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(60),
        gpu=1,
    params:
        model=subpath(input.card, parent=True),
    shell:
        "unset MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_;"
        " PYTHONPATH=src python -m universal_diffusion.benchmarks.large_ct --model {params.model:q} --paper {input.paper:q}"
        " --threads {threads} --output-csv {output.csv:q} > {log:q} 2>&1"


rule benchmark_scoring:
    # One case of 512 x 512, scored by this study and by MONAI's metrics called plainly.
    input:
        code=modules("benchmarks.scoring"),
    output:
        csv="benchmarks/scoring.csv",
        md="benchmarks/scoring.md",
    log:
        "<logs>/benchmark_scoring.log",
    benchmark:
        "<benchmarks>/benchmark_scoring.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    threads: 64
    resources:
        mem_mb=16000,
        runtime=30,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.scoring --output-csv {output.csv:q} > {log:q} 2>&1"
