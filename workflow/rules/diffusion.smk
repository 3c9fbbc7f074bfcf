# Section 2.2: the denoiser in the four variants of Table 2, {noise, mask} prediction x {learnt, clip} embedding.


rule denoiser:
    # The ceilings are there first. They follow from the very inputs that the auto-encoder follows from, f = 8 being derived
    # from its section of the configuration: they train a denoiser anew only where its auto-encoder is new as well.
    input:
        code=modules("training.denoiser"),
        volumes=volumes(role="train"),
        splits="<results>/splits.csv",
        mask_autoencoder="<results>/models/mask_autoencoder/card.json",
        mask_weights="<results>/models/mask_autoencoder/weights.safetensors",
        image_autoencoder="<results>/models/image_autoencoder/card.json",
        image_weights="<results>/models/image_autoencoder/weights.safetensors",
        pretrained="<results>/pretrained/card.json",
        clip="<results>/pretrained/clip_text.safetensors",
        ceilings=collect("<results>/models/{model}/ceiling.csv", model=MASK_AUTOENCODERS),
    output:
        weights="<results>/models/{variant}/weights.safetensors",
        card="<results>/models/{variant}/card.json",
        log="<results>/models/{variant}/log.csv",
    log:
        "<logs>/denoiser/{variant}.log",
    benchmark:
        "<benchmarks>/denoiser/{variant}.tsv"
    priority: 30
    conda:
        "../../envs/train.yaml"
    threads: study.threads * study.denoiser.training.devices
    resources:
        mem_mb=escalating(32000),
        runtime=4320,
        gpu=study.denoiser.training.devices,
        launcher="",
    params:
        settings=section("denoiser"),
        diffusion=section("diffusion"),
        preparation=section("preparation"),
        patches=section("patches"),
        study=study.study,
        cohort=study.cohort,
        seed=study.seed,
        threads=study.threads,
        mask_autoencoder=subpath(input.mask_autoencoder, parent=True),
        image_autoencoder=subpath(input.image_autoencoder, parent=True),
        pretrained=subpath(input.pretrained, parent=True),
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src exec {resources.launcher} python -m universal_diffusion.training.denoiser --variant {wildcards.variant:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --mask-autoencoder {params.mask_autoencoder:q}"
        " --image-autoencoder {params.image_autoencoder:q} --pretrained {params.pretrained:q}"
        " --settings {params.settings:q} --diffusion {params.diffusion:q} --preparation {params.preparation:q}"
        " --patches {params.patches:q} --study {params.study:q} --cohort {params.cohort:q}"
        " --study-seed {params.seed:q} --threads {params.threads:q} --output {params.directory:q} > {log:q} 2>&1"
