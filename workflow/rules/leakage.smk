# What leakage is worth: one system trained a second time under the other setting of `leakage: drop | keep` (the counterpart,
# auto-encoders included), and both numbers side by side. Not part of a study: `snakemake --cores all leakage_effect`.

OTHER = {"drop": "keep", "keep": "drop"}[study.leakage]
LEAKY_SYSTEM = "mask_clip"


use rule split as counterpart_split with:
    output:
        splits="<results>/counterpart/splits.csv",
        leakage="<results>/counterpart/leakage.csv",
    log:
        "<logs>/counterpart/split.log",
    benchmark:
        "<benchmarks>/counterpart/split.tsv"
    params:
        leakage=OTHER,


use rule mask_autoencoder as counterpart_mask_autoencoder with:
    input:
        code=modules("training.mask_autoencoder"),
        volumes=volumes(role="train"),
        splits="<results>/counterpart/splits.csv",
    output:
        weights="<results>/counterpart/models/mask_autoencoder/weights.safetensors",
        card="<results>/counterpart/models/mask_autoencoder/card.json",
        log="<results>/counterpart/models/mask_autoencoder/log.csv",
        ceiling="<results>/counterpart/models/mask_autoencoder/ceiling.csv",
    log:
        "<logs>/counterpart/mask_autoencoder.log",
    benchmark:
        "<benchmarks>/counterpart/mask_autoencoder.tsv"


use rule image_autoencoder as counterpart_image_autoencoder with:
    input:
        code=modules("training.image_autoencoder"),
        volumes=volumes(role="train"),
        splits="<results>/counterpart/splits.csv",
        pretrained="<results>/pretrained/card.json",
        vgg16="<results>/pretrained/vgg16.safetensors",
    output:
        weights="<results>/counterpart/models/image_autoencoder/weights.safetensors",
        card="<results>/counterpart/models/image_autoencoder/card.json",
        log="<results>/counterpart/models/image_autoencoder/log.csv",
    log:
        "<logs>/counterpart/image_autoencoder.log",
    benchmark:
        "<benchmarks>/counterpart/image_autoencoder.tsv"


use rule denoiser as counterpart_denoiser with:
    input:
        code=modules("training.denoiser"),
        volumes=volumes(role="train"),
        splits="<results>/counterpart/splits.csv",
        mask_autoencoder="<results>/counterpart/models/mask_autoencoder/card.json",
        mask_weights="<results>/counterpart/models/mask_autoencoder/weights.safetensors",
        image_autoencoder="<results>/counterpart/models/image_autoencoder/card.json",
        image_weights="<results>/counterpart/models/image_autoencoder/weights.safetensors",
        pretrained="<results>/pretrained/card.json",
        clip="<results>/pretrained/clip_text.safetensors",
    output:
        weights="<results>/counterpart/models/{variant}/weights.safetensors",
        card="<results>/counterpart/models/{variant}/card.json",
        log="<results>/counterpart/models/{variant}/log.csv",
    log:
        "<logs>/counterpart/denoiser/{variant}.log",
    benchmark:
        "<benchmarks>/counterpart/denoiser/{variant}.tsv"


use rule segment as counterpart_segment with:
    input:
        code=modules("segmentation.study"),
        weights="<results>/counterpart/models/{variant}/weights.safetensors",
        card="<results>/counterpart/models/{variant}/card.json",
        volumes=volumes(),
        splits="<results>/counterpart/splits.csv",
    output:
        directory("<results>/counterpart/predictions/{variant}/{shard}"),
    log:
        "<logs>/counterpart/segment/{variant}/{shard}.log",
    benchmark:
        "<benchmarks>/counterpart/segment/{variant}/{shard}.tsv"


use rule score as counterpart_score with:
    input:
        code=modules("evaluation.scoring.score"),
        predictions=collect(
            "<results>/counterpart/predictions/{system}/{shard}",
            shard=shards(study.shards),
            allow_missing=True,
        ),
        volumes=volumes(),
        splits="<results>/counterpart/splits.csv",
    output:
        scores="<results>/counterpart/scores/parts/{system}.csv",
        reliability="<results>/counterpart/scores/reliability/{system}.csv",
        coverage="<results>/counterpart/scores/coverage/{system}.csv",
        inputs="<results>/counterpart/scores/inputs/{system}.csv",
    log:
        "<logs>/counterpart/score/{system}.log",
    benchmark:
        "<benchmarks>/counterpart/score/{system}.tsv"


rule leakage_effect:
    # Dice of the test patients, leaked ones and others, without and with leakage.
    input:
        **{
            study.leakage: f"<results>/scores/parts/{LEAKY_SYSTEM}.csv",
            OTHER: f"<results>/counterpart/scores/parts/{LEAKY_SYSTEM}.csv",
        },
        code=modules("evaluation.beyond.leakage_effect"),
        splits="<results>/splits.csv",
    output:
        csv=report(
            "<results>/tables/leakage_effect.csv",
            caption="../report/leakage_effect.rst",
            category="Data",
            labels={"what": "leakage, with and without"},
        ),
        md="<results>/tables/leakage_effect.md",
        tex="<results>/tables/leakage_effect.tex",
    log:
        "<logs>/leakage_effect.log",
    benchmark:
        "<benchmarks>/leakage_effect.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        system=LEAKY_SYSTEM,
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.leakage_effect --dropped {input.drop:q}"
        " --kept {input.keep:q} --splits {input.splits:q} --system {params.system:q} --cohort {params.cohort:q}"
        " --study-seed {params.seed:q} --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q}"
        " > {log:q} 2>&1"
