# Table 3: systems that are trained here on the same split and scored by the same protocol.


rule prior_mask:
    # The training set's mean mask of each target, placed by the body's outline: the organs are not looked at.
    input:
        code=modules("baselines.prior_mask"),
        volumes=volumes(role="train"),
        splits="<results>/splits.csv",
    output:
        weights="<results>/models/prior_mask/weights.safetensors",
        card="<results>/models/prior_mask/card.json",
    log:
        "<logs>/prior_mask.log",
    benchmark:
        "<benchmarks>/prior_mask.tsv"
    priority: 20
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(240),
    params:
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.baselines.prior_mask --volumes {input.volumes:q}"
        " --splits {input.splits:q} --output {params.directory:q} > {log:q} 2>&1"


rule segresnet:
    # SegResNet, the first row of Table 3.
    input:
        code=modules("baselines.segresnet"),
        volumes=volumes(role="train"),
        splits="<results>/splits.csv",
    output:
        weights="<results>/models/segresnet/weights.safetensors",
        card="<results>/models/segresnet/card.json",
        log="<results>/models/segresnet/log.csv",
    log:
        "<logs>/segresnet.log",
    benchmark:
        "<benchmarks>/segresnet.tsv"
    priority: 30
    conda:
        "../../envs/train.yaml"
    threads: study.threads * study.baseline.training.devices
    resources:
        mem_mb=escalating(32000),
        runtime=2880,
        gpu=study.baseline.training.devices,
        launcher="",
    params:
        settings=section("baseline"),
        preparation=section("preparation"),
        patches=section("patches"),
        seed=study.seed,
        threads=study.threads,
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.baselines.segresnet --volumes {input.volumes:q}"
        " --splits {input.splits:q} --settings {params.settings:q} --preparation {params.preparation:q}"
        " --patches {params.patches:q} --study-seed {params.seed:q} --threads {params.threads:q}"
        " --output {params.directory:q} > {log:q} 2>&1"


rule predict_baseline:
    input:
        code=modules("baselines.predict"),
        weights="<results>/models/{baseline}/weights.safetensors",
        card="<results>/models/{baseline}/card.json",
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        directory("<results>/predictions/{baseline}/{shard}"),
    log:
        "<logs>/predict_baseline/{baseline}/{shard}.log",
    benchmark:
        "<benchmarks>/predict_baseline/{baseline}/{shard}.tsv"
    priority: 20
    conda:
        "../../envs/train.yaml"
    threads: study.threads
    resources:
        mem_mb=escalating(32000),
        runtime=escalating(720),
        gpu=1,
        launcher="",
    params:
        threads=study.threads,
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.baselines.predict --model {params.model:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --shard {wildcards.shard:q} --threads {params.threads:q}"
        " --output {output:q} > {log:q} 2>&1"
