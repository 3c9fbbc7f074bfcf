# The study on one page, and a page for each evaluated case.

from universal_diffusion.evaluation.report.contents import SECTIONS


rule case_pages:
    # CT, prediction, truth and scores of every validation and test case in the viewer, each a page by itself.
    input:
        code=modules("evaluation.report.case_pages"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        predictions=collect(
            "<results>/predictions/mask_clip/{shard}",
            shard=shards(study.shards),
        ),
        natives=collect("<results>/native/{source}", source=study.sources),
        volumes=volumes(),
    output:
        directory("<results>/cases"),
    log:
        "<logs>/case_pages.log",
    benchmark:
        "<benchmarks>/case_pages.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=escalating(8000),
        runtime=escalating(120),
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.report.case_pages --cases {input.cases:q}"
        " --splits {input.splits:q} --predictions {input.predictions:q} --natives {input.natives:q}"
        " --volumes {input.volumes:q} --cohort {params.cohort:q} --output {output:q} > {log:q} 2>&1"


rule report_page:
    # Question, findings, tables, figures, claims, cases, costs and limits on one page that needs no network.
    input:
        code=modules("evaluation.report.page"),
        shown=[f"<results>/{item.file}" for section in SECTIONS for item in section.items],
        figures=[
            "<results>/tables/table3.csv",
            "<results>/tables/targets.csv",
            "<results>/claims.csv",
            "<results>/scores/cases.csv",
            "<results>/splits.csv",
            "<results>/machine.json",
        ],
        provenance="<results>/provenance.json",
        cases="<results>/cases",
    output:
        report(
            "<results>/report.html",
            caption="../report/report_page.rst",
            category="Report",
            labels={"what": "the study on one page"},
        ),
    log:
        "<logs>/report_page.log",
    benchmark:
        "<benchmarks>/report_page.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        results=subpath(input.provenance, parent=True),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.report.page --results {params.results:q}"
        " --cases {input.cases:q} --cohort {params.cohort:q} --output {output:q} > {log:q} 2>&1"
