# Whether the uncertainty of the four variants can be believed and used. A baseline gives one answer, and has none.

JUDGED = {
    "cases": "<results>/scores/cases.csv",
    "reliability": collect("<results>/scores/reliability/{variant}.csv", variant=VARIANTS),
    "coverage": collect("<results>/scores/coverage/{variant}.csv", variant=VARIANTS),
    "splits": "<results>/splits.csv",
}


rule uncertainty_table:
    # Calibration, error detection, rank correlation of doubt with Dice, Dice of what is kept; intervals over patients.
    input:
        **JUDGED,
        code=modules("evaluation.uncertainty.table"),
    output:
        csv=report(
            "<results>/tables/uncertainty.csv",
            caption="../report/uncertainty.rst",
            category="Tables",
            labels={"what": "how far the uncertainty can be believed"},
        ),
        md="<results>/tables/uncertainty.md",
        tex="<results>/tables/uncertainty.tex",
    log:
        "<logs>/uncertainty_table.log",
    benchmark:
        "<benchmarks>/uncertainty_table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=section("segmentation"),
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.uncertainty.table --cases {input.cases:q}"
        " --reliability {input.reliability:q} --coverage {input.coverage:q} --splits {input.splits:q}"
        " --settings {params.settings:q} --study-seed {params.seed:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule reliability:
    # How often a voxel is target, against the probability that it was given.
    input:
        **JUDGED,
        code=modules("evaluation.uncertainty.reliability"),
    output:
        png=report(
            "<results>/figures/reliability.png",
            caption="../report/reliability.rst",
            category="Figures",
            labels={"what": "reliability diagrams"},
        ),
        svg="<results>/figures/reliability.svg",
    log:
        "<logs>/reliability.log",
    benchmark:
        "<benchmarks>/reliability.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=section("segmentation"),
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.uncertainty.reliability --cases {input.cases:q}"
        " --reliability {input.reliability:q} --coverage {input.coverage:q} --splits {input.splits:q}"
        " --settings {params.settings:q} --study-seed {params.seed:q} --cohort {params.cohort:q}"
        " --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"


rule coverage:
    # Dice when the most uncertain voxels, cases or masks are set aside; doubt against Dice.
    input:
        **JUDGED,
        code=modules("evaluation.uncertainty.coverage"),
    output:
        png=report(
            "<results>/figures/coverage.png",
            caption="../report/coverage.rst",
            category="Figures",
            labels={"what": "Dice of what is kept, by doubt"},
        ),
        svg="<results>/figures/coverage.svg",
    log:
        "<logs>/coverage.log",
    benchmark:
        "<benchmarks>/coverage.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=section("segmentation"),
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.uncertainty.coverage --cases {input.cases:q}"
        " --reliability {input.reliability:q} --coverage {input.coverage:q} --splits {input.splits:q}"
        " --settings {params.settings:q} --study-seed {params.seed:q} --cohort {params.cohort:q}"
        " --output-png {output.png:q} --output-svg {output.svg:q} > {log:q} 2>&1"
