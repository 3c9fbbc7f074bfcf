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
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.store --paper {input.paper}"
        " --output-csv {output.csv} > {log} 2>&1"


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
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.layouts" " --output-csv {output.csv} > {log} 2>&1"


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
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.harmonise" " --output-csv {output.csv} > {log} 2>&1"


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
        " --paper {input.paper} --output-csv {output.csv} > {log} 2>&1"


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
        mem_mb=16000,
        runtime=30,
        gpu=1,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.training --paper {input.paper}"
        " --output-csv {output.csv} > {log} 2>&1"


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
        mem_mb=16000,
        runtime=30,
        gpu=1,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.benchmarks.space --paper {input.paper}"
        " --output-csv {output.csv} > {log} 2>&1"
