# The gate of `universal-diffusion segment`: what it keeps and saves, and the truth that it misses, in every evaluated case.

GATED = [variant for variant in VARIANTS if variant.startswith("mask_")]  # predicted noise has no one-step estimate


rule gate:
    input:
        code=modules("evaluation.sampling.gate"),
        weights="<results>/models/{variant}/weights.safetensors",
        card="<results>/models/{variant}/card.json",
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        "<results>/scores/gate/{variant}/{shard}.csv",
    log:
        "<logs>/gate/{variant}/{shard}.log",
    benchmark:
        "<benchmarks>/gate/{variant}/{shard}.tsv"
    wildcard_constraints:
        variant=one_of(GATED),
    conda:
        "../../envs/train.yaml"
    threads: study.threads
    resources:
        mem_mb=escalating(32000),
        runtime=escalating(480),
        gpu=1,
        launcher="",
    params:
        settings=section("segmentation"),
        seed=study.seed,
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.evaluation.sampling.gate --model {params.model:q} --variant {wildcards.variant:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --settings {params.settings:q}"
        " --study-seed {params.seed:q} --shard {wildcards.shard:q} --threads {params.threads:q}"
        " --output {output:q} > {log:q} 2>&1"


rule gate_table:
    # Its misses against its savings.
    input:
        code=modules("evaluation.sampling.gate_table"),
        parts=collect(
            "<results>/scores/gate/{variant}/{shard}.csv",
            variant=GATED,
            shard=shards(study.shards),
        ),
    output:
        csv=report(
            "<results>/tables/gate.csv",
            caption="../report/gate.rst",
            category="Tables",
            labels={"what": "the gate's savings and misses"},
        ),
        md="<results>/tables/gate.md",
        tex="<results>/tables/gate.tex",
    log:
        "<logs>/gate_table.log",
    benchmark:
        "<benchmarks>/gate_table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.sampling.gate_table --parts {input.parts:q}"
        " --cohort {params.cohort:q} --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q}"
        " > {log:q} 2>&1"
