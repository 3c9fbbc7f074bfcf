# What is wrong, odd or worth a look in the data: findings, and for each dataset a page, a figure and picture sheets.


rule quality_measures:
    # One shard of every source together, so that a small study needs one job.
    input:
        code=modules("preparation.quality.measure"),
        volumes=collect("<results>/volumes/{source}/{shard}", source=sources(), allow_missing=True),
    output:
        directory("<results>/quality/measures/{shard}"),
    log:
        "<logs>/quality_measures/{shard}.log",
    benchmark:
        "<benchmarks>/quality_measures/{shard}.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(480),
    params:
        settings=section("preparation"),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.quality.measure --volumes {input.volumes:q}"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


rule ircadb_structures:
    # What each patient of 3D-IRCADb is labelled for, from its mask folders.
    input:
        code=modules("preparation.quality.ircadb"),
        native="<results>/native/ircadb",
    output:
        report(
            "<results>/quality/ircadb_structures.csv",
            caption="../report/ircadb_structures.rst",
            category="Data quality",
            labels={"dataset": "ircadb", "what": "mask folders"},
        ),
    log:
        "<logs>/ircadb_structures.log",
    benchmark:
        "<benchmarks>/ircadb_structures.tsv"
    conda:
        "../../envs/prepare.yaml"
    resources:
        mem_mb=escalating(4000),
        runtime=escalating(60),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.quality.ircadb --native {input.native:q}"
        " --output {output:q} > {log:q} 2>&1"


rule quality:
    input:
        code=modules("preparation.quality.report"),
        inventory="<results>/inventory.csv",
        counts="<results>/tables/table1.csv",
        measures=collect("<results>/quality/measures/{shard}", shard=shards(study.shards)),
        structures=["<results>/quality/ircadb_structures.csv"] if "ircadb" in study.sources else [],
        volumes=volumes(),
    output:
        findings=report(
            "<results>/quality/findings.csv",
            caption="../report/quality_findings.rst",
            category="Data quality",
            labels={"dataset": "all", "what": "findings"},
        ),
        pages=[
            report(
                f"<results>/quality/{dataset}.md",
                caption="../report/quality_page.rst",
                category="Data quality",
                labels={"dataset": dataset, "what": "report"},
            )
            for dataset in datasets()
        ],
        figures=[
            report(
                f"<results>/quality/{dataset}.png",
                caption="../report/quality_figure.rst",
                category="Data quality",
                labels={"dataset": dataset, "what": "spacing, field of view, HU, volumes"},
            )
            for dataset in datasets()
        ],
        sheets=report(
            directory("<results>/quality/sheets"),
            patterns=["{dataset}-{number}.png"],
            caption="../report/quality_sheets.rst",
            category="Data quality",
            labels={"dataset": "{dataset}", "what": "picture sheet {number}"},
        ),
    log:
        "<logs>/quality.log",
    benchmark:
        "<benchmarks>/quality.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=escalating(16000),
        runtime=escalating(240),
    params:
        settings=section("preparation"),
        cohort=study.cohort,
        folder=subpath(output.findings, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.preparation.quality.report --inventory {input.inventory:q}"
        " --measures {input.measures:q} --counts {input.counts:q} --structures {input.structures:q} --volumes {input.volumes:q}"
        " --settings {params.settings:q} --cohort {params.cohort:q} --output {params.folder:q} > {log:q} 2>&1"
