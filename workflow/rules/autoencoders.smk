# Section 2.1: the mask auto-encoder, the image auto-encoder, and the ceiling that the first one sets. It is measured where the
# mask auto-encoder's training ends, at f = 4 and at f = 8, and the denoisers need its rows: none begins before they are there.


rule mask_autoencoder:
    # Eqs. 1-3. A checkpoint lies beside the declared files, so a run that was cut off goes on where it stood. `exec` here
    # and in the other trainings: a shell in between would end at a SIGTERM, and Snakemake with it, before the state is kept.
    input:
        code=modules("training.mask_autoencoder"),
        volumes=volumes(role="train"),
        splits="<results>/splits.csv",
    output:
        weights="<results>/models/mask_autoencoder/weights.safetensors",
        card="<results>/models/mask_autoencoder/card.json",
        log="<results>/models/mask_autoencoder/log.csv",
        ceiling="<results>/models/mask_autoencoder/ceiling.csv",
    log:
        "<logs>/mask_autoencoder.log",
    benchmark:
        "<benchmarks>/mask_autoencoder.tsv"
    priority: 60
    conda:
        "../../envs/train.yaml"
    threads: study.threads * study.mask_autoencoder.training.devices
    resources:
        mem_mb=escalating(16000),
        runtime=1440,
        gpu=study.mask_autoencoder.training.devices,
        launcher="",
    params:
        settings=section("mask_autoencoder"),
        preparation=section("preparation"),
        patches=section("patches"),
        seed=study.seed,
        threads=study.threads,
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.training.mask_autoencoder --volumes {input.volumes:q}"
        " --splits {input.splits:q} --settings {params.settings:q} --preparation {params.preparation:q}"
        " --patches {params.patches:q} --study-seed {params.seed:q} --threads {params.threads:q}"
        " --output {params.directory:q} > {log:q} 2>&1"


use rule mask_autoencoder as coarser_mask_autoencoder with:
    # One scale more: f = 8 where the study works at f = 4. For the ceiling only.
    output:
        weights="<results>/models/coarser_mask_autoencoder/weights.safetensors",
        card="<results>/models/coarser_mask_autoencoder/card.json",
        log="<results>/models/coarser_mask_autoencoder/log.csv",
        ceiling="<results>/models/coarser_mask_autoencoder/ceiling.csv",
    log:
        "<logs>/coarser_mask_autoencoder.log",
    benchmark:
        "<benchmarks>/coarser_mask_autoencoder.tsv"
    params:
        settings=json.dumps(asdict(study.mask_autoencoder.coarser()), sort_keys=True),


rule image_autoencoder:
    # Eqs. 4 and 5.
    input:
        code=modules("training.image_autoencoder"),
        volumes=volumes(role="train"),
        splits="<results>/splits.csv",
        pretrained="<results>/pretrained/card.json",
        vgg16="<results>/pretrained/vgg16.safetensors",
    output:
        weights="<results>/models/image_autoencoder/weights.safetensors",
        card="<results>/models/image_autoencoder/card.json",
        log="<results>/models/image_autoencoder/log.csv",
    log:
        "<logs>/image_autoencoder.log",
    benchmark:
        "<benchmarks>/image_autoencoder.tsv"
    priority: 50
    conda:
        "../../envs/train.yaml"
    threads: study.threads * study.image_autoencoder.training.devices
    resources:
        mem_mb=escalating(16000),
        runtime=2880,
        gpu=study.image_autoencoder.training.devices,
        launcher="",
    params:
        settings=section("image_autoencoder"),
        preparation=section("preparation"),
        patches=section("patches"),
        seed=study.seed,
        threads=study.threads,
        pretrained=subpath(input.pretrained, parent=True),
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.training.image_autoencoder --volumes {input.volumes:q}"
        " --splits {input.splits:q} --settings {params.settings:q} --preparation {params.preparation:q}"
        " --patches {params.patches:q} --pretrained {params.pretrained:q} --study-seed {params.seed:q}"
        " --threads {params.threads:q} --output {params.directory:q} > {log:q} 2>&1"


rule ceiling:
    # The table of Dice of decode(encode(mask)) per target, at both factors.
    input:
        code=modules("evaluation.beyond.ceiling"),
        cases=collect("<results>/models/{model}/ceiling.csv", model=MASK_AUTOENCODERS),
    output:
        md="<results>/tables/autoencoder_ceiling.md",
        tex="<results>/tables/autoencoder_ceiling.tex",
        csv=report(
            "<results>/tables/autoencoder_ceiling.csv",
            caption="../report/ceiling.rst",
            category="Tables",
            labels={"what": "auto-encoder ceiling per target"},
        ),
    log:
        "<logs>/ceiling.log",
    benchmark:
        "<benchmarks>/ceiling.tsv"
    priority: 55
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.ceiling --cases {input.cases:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"
