from snakemake.utils import min_version

min_version("9.27")


# A --configfile stands alone: Snakemake would merge it into the default one, which serves the bare command only.
if not workflow.configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"


if workflow.is_main_process:
    find_run()


pathvars:
    results=f"results/{study.study}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    source="|".join(study.sources),
    variant="|".join(VARIANTS),
    baseline="|".join(BASELINES),
    shard=r"\d+-of-\d+",


PRINTED = ["csv", "md", "tex"]
FIGURES = "training latent_cost ceilings distributions worst reliability coverage sampling sampling_seconds".split()
ARTEFACTS = [
    "<results>/splits.csv",
    "<results>/leakage.csv",
    "<results>/figures/overlays.png",
    "<results>/quality/findings.csv",
    *collect("<results>/models/{variant}/{part}", variant=VARIANTS, part=["weights.safetensors", "card.json"]),
    "<results>/scores/cases.csv",
    *collect("<results>/tables/table{number}.{kind}", number=[1, 2, 3], kind=PRINTED),
    *collect("<results>/tables/{name}.{kind}", name=["targets", "comparisons", "uncertainty"], kind=PRINTED),
    *collect("<results>/tables/{name}.{kind}", name=["autoencoder_ceiling", "cost", "networks", "gate"], kind=PRINTED),
    *collect("<results>/tables/own/{source}.{kind}", source=own_sources(), kind=PRINTED),
    *collect("<results>/figures/figure{number}.{kind}", number=[1, 2], kind=["png", "svg"]),
    *collect("<results>/figures/{name}.{kind}", name=FIGURES, kind=["png", "svg"]),
    *collect("<results>/tables/{name}.{kind}", name=["sampling", "sampling_seconds"], kind=PRINTED),
    *collect("<results>/models/{model}/README.md", model=MODELS),
    *collect("<results>/claims.{kind}", kind=PRINTED),
    "<results>/claims_rows.csv",
    "<results>/report.html",
    *(["<results>/figures/phantom.png"] if sources(origin="phantom") else []),
]


include: "workflow/rules/acquire.smk"
include: "workflow/rules/harmonise.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/autoencoders.smk"
include: "workflow/rules/diffusion.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/gate.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/uncertainty.smk"
include: "workflow/rules/cards.smk"
include: "workflow/rules/evidence.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/leakage.smk"
include: "workflow/rules/benchmarks.smk"


take_build(workflow.rules)


rule all:
    default_target: True
    input:
        ARTEFACTS,
        "<results>/provenance.json",
        "<results>/seal.json",


rule benchmarks:
    input:
        collect(
            "benchmarks/{name}.md",
            name="store layouts harmonise plan scoring training space inference segmentation presets large_ct".split(),
        ),


onstart:
    begin_run()


onerror:
    tell_failures(log)
