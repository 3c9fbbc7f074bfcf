# Section 3.1, inference: masks, mean, variance and entropy of every validation and test case, on the CT's own grid.


rule segment:
    input:
        code=modules("segmentation.study"),
        weights="<results>/models/{variant}/weights.safetensors",
        card="<results>/models/{variant}/card.json",
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        directory("<results>/predictions/{variant}/{shard}"),
    log:
        "<logs>/segment/{variant}/{shard}.log",
    benchmark:
        "<benchmarks>/segment/{variant}/{shard}.tsv"
    priority: 20
    conda:
        "../../envs/train.yaml"
    threads: study.threads
    resources:
        mem_mb=escalating(32000),
        runtime=escalating(1440),
        gpu=1,
        launcher="",
    params:
        settings=section("segmentation"),
        seed=study.seed,
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.segmentation.study --model {params.model:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --settings {params.settings:q}"
        " --study-seed {params.seed:q} --shard {wildcards.shard:q} --threads {params.threads:q}"
        " --output {output:q} > {log:q} 2>&1"
