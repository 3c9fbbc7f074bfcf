# Tables 1-3 of the paper, and those beyond it: systems in pairs, all targets, own datasets, costs, networks.


rule table1:
    # The aggregated dataset: the paper's counts beside this study's.
    input:
        code=modules("evaluation.paper.table1"),
        inventory="<results>/inventory.csv",
        splits="<results>/splits.csv",
        published="config/published.csv",
        own=collect("<results>/native/{source}", source=own_sources()),
    output:
        csv=report(
            "<results>/tables/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
            labels={"what": "Table 1"},
        ),
        md="<results>/tables/table1.md",
        tex="<results>/tables/table1.tex",
    log:
        "<logs>/table1.log",
    benchmark:
        "<benchmarks>/table1.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.table1 --inventory {input.inventory:q} --splits {input.splits:q}"
        " --published {input.published:q} --own {input.own:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule table2:
    # The four variants on the MSD targets.
    input:
        code=modules("evaluation.paper.table2"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/tables/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
            labels={"what": "Table 2"},
        ),
        md="<results>/tables/table2.md",
        tex="<results>/tables/table2.tex",
    log:
        "<logs>/table2.log",
    benchmark:
        "<benchmarks>/table2.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.table2 --cases {input.cases:q}"
        " --splits {input.splits:q} --published {input.published:q} --cohort {params.cohort:q} --study-seed {params.seed:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule table3:
    # Generalisation to 3D-IRCADb.
    input:
        code=modules("evaluation.paper.table3"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
        published="config/published.csv",
    output:
        csv=report(
            "<results>/tables/table3.csv",
            caption="../report/table3.rst",
            category="Tables",
            labels={"what": "Table 3"},
        ),
        md="<results>/tables/table3.md",
        tex="<results>/tables/table3.tex",
    log:
        "<logs>/table3.log",
    benchmark:
        "<benchmarks>/table3.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.paper.table3 --cases {input.cases:q}"
        " --splits {input.splits:q} --published {input.published:q} --cohort {params.cohort:q} --study-seed {params.seed:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule comparisons:
    # Every system against every other, on the same patients.
    input:
        code=modules("evaluation.beyond.comparisons"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
    output:
        csv=report(
            "<results>/tables/comparisons.csv",
            caption="../report/comparisons.rst",
            category="Tables",
            labels={"what": "systems compared in pairs"},
        ),
        md="<results>/tables/comparisons.md",
        tex="<results>/tables/comparisons.tex",
    log:
        "<logs>/comparisons.log",
    benchmark:
        "<benchmarks>/comparisons.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.comparisons --cases {input.cases:q}"
        " --splits {input.splits:q} --cohort {params.cohort:q} --study-seed {params.seed:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule targets_table:
    # All 29 targets, low ones included.
    input:
        code=modules("evaluation.beyond.targets_table"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
    output:
        csv=report(
            "<results>/tables/targets.csv",
            caption="../report/targets.rst",
            category="Tables",
            labels={"what": "all 29 targets"},
        ),
        md="<results>/tables/targets.md",
        tex="<results>/tables/targets.tex",
    log:
        "<logs>/targets_table.log",
    benchmark:
        "<benchmarks>/targets_table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.targets_table --cases {input.cases:q}"
        " --splits {input.splits:q} --cohort {params.cohort:q} --study-seed {params.seed:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule own_table:
    # The same for one dataset that the study's user brought.
    input:
        code=modules("evaluation.beyond.targets_table"),
        cases="<results>/scores/cases.csv",
        splits="<results>/splits.csv",
    output:
        csv=report(
            "<results>/tables/own/{source}.csv",
            caption="../report/targets.rst",
            category="Tables",
            labels={"what": "own dataset {source}"},
        ),
        md="<results>/tables/own/{source}.md",
        tex="<results>/tables/own/{source}.tex",
    log:
        "<logs>/own_table/{source}.log",
    benchmark:
        "<benchmarks>/own_table/{source}.tsv"
    wildcard_constraints:
        source=one_of(own_sources()),
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cohort=study.cohort,
        seed=study.seed,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.targets_table --cases {input.cases:q}"
        " --splits {input.splits:q} --source {wildcards.source:q} --cohort {params.cohort:q} --study-seed {params.seed:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule cost:
    # Operations of latent against pixel-space diffusion.
    input:
        code=modules("evaluation.beyond.cost"),
        weights="<results>/models/mask_clip/weights.safetensors",
        card="<results>/models/mask_clip/card.json",
    output:
        csv=report(
            "<results>/tables/cost.csv",
            caption="../report/cost.rst",
            category="Tables",
            labels={"what": "cost of latent and pixel space"},
        ),
        md="<results>/tables/cost.md",
        tex="<results>/tables/cost.tex",
    log:
        "<logs>/cost.log",
    benchmark:
        "<benchmarks>/cost.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=escalating(8000),
        runtime=escalating(30),
    params:
        settings=section("segmentation"),
        model=subpath(input.card, parent=True),
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.cost --model {params.model:q}"
        " --settings {params.settings:q} --cohort {params.cohort:q}"
        " --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q} > {log:q} 2>&1"


rule networks:
    # Parameters and operations of every network, beside denoisers of pixel space. Counted without training anything.
    input:
        code=modules("evaluation.beyond.networks"),
    output:
        csv=report(
            "<results>/tables/networks.csv",
            caption="../report/networks.rst",
            category="Tables",
            labels={"what": "networks"},
        ),
        md="<results>/tables/networks.md",
        tex="<results>/tables/networks.tex",
    log:
        "<logs>/networks.log",
    benchmark:
        "<benchmarks>/networks.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        study=whole_study(),
        cohort=study.cohort,
    shell:
        "PYTHONPATH=src python -m universal_diffusion.evaluation.beyond.networks --study {params.study:q}"
        " --cohort {params.cohort:q} --output-csv {output.csv:q} --output-md {output.md:q} --output-tex {output.tex:q}"
        " > {log:q} 2>&1"
