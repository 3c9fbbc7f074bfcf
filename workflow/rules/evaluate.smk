# Section 3.2: a score for each target of each case, in 3-D.


rule score:
    input:
        code=modules("evaluation.scoring.score"),
        predictions=predictions,
        volumes=volumes(),
        splits="<results>/splits.csv",
    output:
        scores="<results>/scores/parts/{system}.csv",
        reliability="<results>/scores/reliability/{system}.csv",
        coverage="<results>/scores/coverage/{system}.csv",
        inputs="<results>/scores/inputs/{system}.csv",
    log:
        "<logs>/score/{system}.log",
    benchmark:
        "<benchmarks>/score/{system}.tsv"
    wildcard_constraints:
        system="|".join(VARIANTS + BASELINES),
    priority: 10
    conda:
        "../../envs/evaluate.yaml"
    threads: study.threads
    resources:
        mem_mb=escalating(6000 * study.threads),  # a CT of 512 x 512 x 500, scattered predictions, each
        runtime=escalating(720),
    params:
        results=subpath(output.scores, ancestor=3),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.scoring.score --predictions {input.predictions:q}"
        " --volumes {input.volumes:q} --splits {input.splits:q} --system {wildcards.system:q} --results {params.results:q}"
        " --processes {threads} --output-scores {output.scores:q} --output-reliability {output.reliability:q}"
        " --output-coverage {output.coverage:q} --output-inputs {output.inputs:q} > {log:q} 2>&1"


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
        mem_mb=escalating(2000),
        runtime=escalating(10),
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.scoring.collect --parts {input.parts:q}"
        " --output {output:q} > {log:q} 2>&1"
