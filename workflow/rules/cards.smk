# A page beside each model.


rule model_card:
    # A page beside each variant and baseline: what it is for, what it was made from, how good it is.
    input:
        code=modules("evaluation.cards.model_card"),
        card="<results>/models/{system}/card.json",
        training=training_log,
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        ceiling="<results>/tables/autoencoder_ceiling.csv",
        provenance="<results>/provenance.json",
        machine="<results>/machine.json",
    output:
        report(
            "<results>/models/{system}/README.md",
            caption="../report/model_card.rst",
            category="Models",
            labels={"model": "{system}"},
        ),
    log:
        "<logs>/model_card/{system}.log",
    benchmark:
        "<benchmarks>/model_card/{system}.tsv"
    wildcard_constraints:
        system=one_of([*VARIANTS, *BASELINES]),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        training=training_settings,
        segmentation=section("segmentation"),
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.cards.model_card --model {params.model:q} --cases {input.cases:q}"
        " --splits {input.splits:q} --ceiling {input.ceiling:q} --provenance {input.provenance:q} --machine {input.machine:q}"
        " {params.training:q} --sampling {params.segmentation:q} --output {output:q} > {log:q} 2>&1"


rule autoencoder_card:
    # The same beside each auto-encoder, which is scored by what it reconstructs.
    input:
        code=modules("evaluation.cards.autoencoder_card"),
        card="<results>/models/{autoencoder}/card.json",
        training="<results>/models/{autoencoder}/log.csv",
        ceiling=own_ceiling,
        splits="<results>/splits.csv",
        provenance="<results>/provenance.json",
        machine="<results>/machine.json",
    output:
        report(
            "<results>/models/{autoencoder}/README.md",
            caption="../report/model_card.rst",
            category="Models",
            labels={"model": "{autoencoder}"},
        ),
    log:
        "<logs>/model_card/{autoencoder}.log",
    benchmark:
        "<benchmarks>/model_card/{autoencoder}.tsv"
    wildcard_constraints:
        autoencoder=one_of(AUTOENCODERS),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        training=training_settings,
        ceiling=lambda wildcards, input: [f"--ceiling={path}" for path in input.ceiling],
        model=subpath(input.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.cards.autoencoder_card --model {params.model:q} {params.ceiling:q}"
        " --splits {input.splits:q} --provenance {input.provenance:q} --machine {input.machine:q}"
        " {params.training:q} --output {output:q} > {log:q} 2>&1"
