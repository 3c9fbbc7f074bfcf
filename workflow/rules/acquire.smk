# Section 3.1, Table 1: the datasets as their owners ship them, and the pretrained weights.


rule phantom_archive:
    # The embedded cohort, written in the native archive of each dataset.
    input:
        code=modules("phantom.write"),
    output:
        directory("<results>/archives/{source}"),
    log:
        "<logs>/phantom_archive/{source}.log",
    benchmark:
        "<benchmarks>/phantom_archive/{source}.tsv"
    wildcard_constraints:
        source=one_of(sources(origin="phantom")),
    conda:
        "../../envs/acquire.yaml"
    resources:
        mem_mb=escalating(2000),
        runtime=escalating(30),
    params:
        settings=section("phantom"),
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.phantom.write --source {wildcards.source:q}"
        " --study-seed {params.seed:q} --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


rule acquire:
    # A local or downloaded archive, every file checked by its hash.
    input:
        code=modules("preparation.acquire"),
        archive=local_archive,
    output:
        directory("<results>/archives/{source}"),
    log:
        "<logs>/acquire/{source}.log",
    benchmark:
        "<benchmarks>/acquire/{source}.tsv"
    wildcard_constraints:
        source=one_of(sources(origin="local") + sources(origin="download")),
    localrule: True
    conda:
        "../../envs/acquire.yaml"
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        settings=source_settings,
        data_root=study.data_root,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.acquire --source {wildcards.source:q}"
        " --settings {params.settings:q} --data-root {params.data_root:q} --output {output:q} > {log:q} 2>&1"


rule unpack:
    input:
        code=modules("preparation.unpack"),
        archives="<results>/archives/{source}",
    output:
        directory("<results>/native/{source}"),
    log:
        "<logs>/unpack/{source}.log",
    benchmark:
        "<benchmarks>/unpack/{source}.tsv"
    conda:
        "../../envs/acquire.yaml"
    resources:
        mem_mb=escalating(2000),
        runtime=escalating(240),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.unpack --source {wildcards.source:q}"
        " --archives {input.archives:q} --output {output:q} > {log:q} 2>&1"


rule pretrained:
    # VGG-16 for LPIPS (eq. 4) and the CLIP text features of the 29 prompts.
    input:
        code=modules("method.pretrained"),
        weights=local_weights(),
    output:
        vgg16="<results>/pretrained/vgg16.safetensors",
        clip="<results>/pretrained/clip_text.safetensors",
        card="<results>/pretrained/card.json",
    log:
        "<logs>/pretrained.log",
    benchmark:
        "<benchmarks>/pretrained.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=section("weights"),
        seed=study.seed,
        directory=subpath(output.card, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.method.pretrained --settings {params.settings:q}"
        " --study-seed {params.seed:q} --output {params.directory:q} > {log:q} 2>&1"


rule phantom_montage:
    input:
        code=modules("phantom.montage"),
    output:
        report(
            "<results>/figures/phantom.png",
            caption="../report/phantom.rst",
            category="Data",
            labels={"what": "embedded cohort"},
        ),
    log:
        "<logs>/phantom_montage.log",
    benchmark:
        "<benchmarks>/phantom_montage.tsv"
    conda:
        "../../envs/acquire.yaml"
    resources:
        mem_mb=escalating(2000),
        runtime=escalating(30),
    params:
        settings=section("phantom"),
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.phantom.montage --study-seed {params.seed:q}"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
