# Section 3.1: every case on one grid and in one label language; the 9:1 split and the leakage audit.


rule harmonise:
    input:
        code=modules("preparation.harmonise"),
        native="<results>/native/{source}",
    output:
        directory("<results>/volumes/{source}/{shard}"),
    log:
        "<logs>/harmonise/{source}/{shard}.log",
    benchmark:
        "<benchmarks>/harmonise/{source}/{shard}.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(480),
    params:
        settings=section("preparation"),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.harmonise --source {wildcards.source:q}"
        " --native {input.native:q} --settings {params.settings:q} --shard {wildcards.shard:q}"
        " --output {output:q} > {log:q} 2>&1"


rule inventory:
    input:
        code=modules("preparation.inventory"),
        volumes=volumes(),
    output:
        "<results>/inventory.csv",
    log:
        "<logs>/inventory.log",
    benchmark:
        "<benchmarks>/inventory.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(4000),
        runtime=escalating(120),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.inventory --volumes {input.volumes:q}"
        " --output-csv {output:q} > {log:q} 2>&1"


rule repeats:
    # Which scans are copies of one another, by fingerprints of their slices.
    input:
        code=modules("preparation.repeats"),
        volumes=volumes(),
    output:
        "<results>/repeats.csv",
    log:
        "<logs>/repeats.log",
    benchmark:
        "<benchmarks>/repeats.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(4000),
        runtime=escalating(60),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.repeats --volumes {input.volumes:q}"
        " --output {output:q} > {log:q} 2>&1"


rule split:
    input:
        code=modules("preparation.split"),
        inventory="<results>/inventory.csv",
        repeats="<results>/repeats.csv",
    output:
        splits=report(
            "<results>/splits.csv",
            caption="../report/splits.rst",
            category="Data",
            labels={"what": "train, validation and test cases"},
        ),
        leakage=report(
            "<results>/leakage.csv",
            caption="../report/leakage.rst",
            category="Data",
            labels={"what": "leakage audit"},
        ),
    log:
        "<logs>/split.log",
    benchmark:
        "<benchmarks>/split.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(1000),
        runtime=escalating(10),
    params:
        tests=sources(role="test"),
        validation_fraction=study.validation_fraction,
        leakage=study.leakage,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.split --inventory {input.inventory:q}"
        " --repeats {input.repeats:q} --tests {params.tests:q} --validation-fraction {params.validation_fraction:q}"
        " --leakage {params.leakage:q} --study-seed {params.seed:q}"
        " --output-splits {output.splits:q} --output-leakage {output.leakage:q} > {log:q} 2>&1"


rule overlays:
    input:
        code=modules("preparation.overlays"),
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        report(
            "<results>/figures/overlays.png",
            caption="../report/overlays.rst",
            category="Data",
            labels={"what": "harmonised cases with their labels"},
        ),
    log:
        "<logs>/overlays.log",
    benchmark:
        "<benchmarks>/overlays.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(8000),
        runtime=escalating(60),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.overlays --volumes {input.volumes:q}"
        " --splits {input.splits:q} --output {output:q} > {log:q} 2>&1"
