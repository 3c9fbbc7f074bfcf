# Section 3.2: a score for each target of each case, in 3-D.


rule score:
    input:
        code=modules("evaluation.scoring.score"),
        predictions=predictions,
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        "<results>/scores/parts/{system}.csv",
    log:
        "<logs>/score/{system}.log",
    benchmark:
        "<benchmarks>/score/{system}.tsv"
    wildcard_constraints:
        system="|".join(VARIANTS + BASELINES),
    priority: 10
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=16000,
        runtime=720,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.scoring.score --predictions {input.predictions}"
        " --volumes {input.volumes} --splits {input.splits} --system {wildcards.system}"
        " --output {output} > {log} 2>&1"


rule collect:
    input:
        code=modules("evaluation.scoring.collect"),
        parts=collect("<results>/scores/parts/{system}.csv", system=VARIANTS + BASELINES),
    output:
        report(
            "<results>/scores/cases.csv",
            caption="../report/cases.rst",
            category="Scores",
            labels={"what": "every scored target of every case"},
        ),
    log:
        "<logs>/collect.log",
    benchmark:
        "<benchmarks>/collect.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.scoring.collect --parts {input.parts}"
        " --output {output} > {log} 2>&1"
