"""The paper's claims that a number can settle: where each stands, how it is tested, and the size it names.

Quotes are verbatim, symbols spelt as plain letters. Left out is what the paper reports of others without comparing the
method to it, and what describes the method without saying what it achieves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from universal_diffusion.evaluation.claims import convergence, counted, held_out, msd, unseen
from universal_diffusion.evaluation.claims.evidence import Evidence, not_run
from universal_diffusion.evaluation.claims.measured import Measured

NONE = "none"
HELD_OUT = "the same on all held-out patients and all their targets, {}; mean over patients of their targets' mean"
NO_PIXEL_MODEL = "no pixel-space model is trained here"
NO_REGULARISED = "the mask auto-encoder is trained without KL or VQ only, so there is no peer"
NO_SPECIALIST = "every system here is trained on all datasets; no specialist of a single one"
LABELS = "counted in the label tables that the datasets of Table 1 publish, as this study's catalogue reads them"
UNCERTAINTY = "the mean and variance map obtained by ensembling various samples"  # what section 1 praises in others
OTHERS = "about another group's system, which is not run here"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper and its test.

    Attributes:
        quote: from `section`; "[...]" stands for what is left out between.
        claimed: the size it names, None for a direction only.
        again: where the paper says the same again: (section, quote).
    """

    key: str
    section: str
    quote: str
    test: str
    measure: Callable[[Evidence], Measured]
    claimed: float | None = None
    again: tuple[tuple[str, str], ...] = ()


ABSTRACT = (
    Claim(
        "every_target",
        "abstract",
        "can segment any anatomical targets that are presented in the aggregated data",
        "Dice less that of a mask placed by the outline of the body, all held-out patients, at the target where this "
        "is least sure",
        held_out.every_target,
        again=(
            ("abstract", "capable of segmenting diverse anatomical structures using a single and unified architecture"),
            ("1", "capable of segmenting any anatomical structure covered in the aggregated data given user prompting"),
            (
                "3.2.1",
                "our model can segment diverse anatomical structures across multiple datasets without specialized "
                "training",
            ),
            (
                "4",
                "allows model prompting to guide the sampling process towards segmenting any target class covered in "
                "the training data-set",
            ),
        ),
    ),
    Claim(
        "latent_cost",
        "abstract",
        "By performing diffusion fully in latent space, we achieve [...] significantly lower computational cost",
        "operations of the same network on the pixel grid, as a multiple of latent sampling with its auto-encoders",
        counted.latent_saves,
        again=(
            ("1", "By performing diffusion entirely in latent space [...] we effectively reduce computational costs"),
        ),
    ),
    Claim(
        "latent_quality",
        "abstract",
        "we achieve comparable results to pixel-space diffusion",
        NONE,
        not_run(NO_PIXEL_MODEL),
    ),
    Claim(
        "competitive",
        "abstract",
        "The proposed methods demonstrates competitive performance against existing deep learning-based discriminative "
        "approaches on several benchmarks",
        "Dice of ours less that of SegResNet trained on the same split, paired by patient; mean over the seven organs "
        "of Table 3; no margin is named, so nothing short of a gain settles it",
        unseen.over_segresnet,
        again=(
            ("1", "maintaining competitive accuracy"),
            ("4", "Our approach produces competitive results to existing models"),
        ),
    ),
    Claim(
        "competitive_held_out",
        "abstract",
        "competitive performance against existing deep learning-based discriminative approaches on several benchmarks",
        HELD_OUT.format("validation and test"),
        partial(held_out.over, better="mask_clip", worse="segresnet"),
    ),
    Claim(
        "generalises",
        "abstract",
        "it shows strong generalization capabilities on unseen datasets",
        "Dice on the unseen set less that of a mask placed by the outline of the body; mean over the organs of Table 3",
        unseen.over_prior,
        again=(("3.2.1", "illustrating its capacity to generalize well across various anatomical structures"),),
    ),
)
INTRODUCTION = (
    Claim(
        "more_data",
        "1",
        "increasing the quantity and diversity of training data is key to improving model performance and "
        "generalization capabilities",
        NONE,
        not_run("every system is trained on all training cases; none on fewer"),
    ),
    Claim(
        "generalists",
        "1",
        "generalist models consistently outperform their specialist counterparts",
        NONE,
        not_run(NO_SPECIALIST),
    ),
    Claim(
        "leaderboards",
        "1",
        "Their approach currently ranks highest in both the MSD and BTCV benchmarks",
        NONE,
        not_run(OTHERS + "; leaderboards change"),
    ),
)
METHOD = (
    Claim(
        "plain_latents_suffice",
        "2.1",
        "regularised latent spaces are redundant for encoding a binary segmentation mask",
        NONE,
        not_run(NO_REGULARISED),
    ),
    Claim(
        "plain_latents_converge",
        "2.1",
        "and increase the convergence time of the segmentation model",
        NONE,
        not_run(NO_REGULARISED),
    ),
    Claim(
        "weight_decay",
        "2.1",
        "utilise weight decay which by extension enforces a lower variance latent space",
        NONE,
        not_run("no mask auto-encoder is trained without weight decay"),
        again=(("3.2", "This setup reduces latent space variance and enhances computational efficiency"),),
    ),
    Claim(
        "one_step",
        "2.2",
        "given that we always condition on the conditional image z(y), this provides a strong enough signal to be able "
        "to estimate z0(x) at any point of the diffusion process",
        "Dice of the one-step estimate from pure noise less that after the most steps of the sampling sweep",
        counted.one_step,
    ),
    Claim(
        "faster_convergence",
        "2.2",
        "We find that parameterizing μθ by predicting z0(x) leads to faster convergence",
        "steps until noise prediction's validation Dice first reaches the highest that both reach, as a multiple of "
        "mask prediction's; mean over both embeddings",
        partial(convergence.z0_converges_faster, embeddings=("learnt", "clip")),
    ),
    Claim(
        "dual_autoencoders",
        "2.2",
        "the proposed method achieves superior segmentation performance by leveraging a dual auto-encoder framework",
        NONE,
        not_run("no system with a single auto-encoder is trained here"),
    ),
    Claim(
        "lower_mse",
        "2.2",
        "improves reconstruction quality, as evidenced by a lower MSE",
        NONE,
        not_run("the paper prints no MSE and does not say lower than whose"),
    ),
    Claim(
        "consistent",
        "2.2",
        "achieves enhanced consistency and robustness across multiple classes compared to baseline methods",
        "standard deviation of Dice over a patient's targets, SegResNet's less ours; mean over held-out patients",
        held_out.more_consistent,
    ),
)
DATA = (
    Claim("targets", "3.1", "a total of 29 segmentation targets", LABELS, counted.targets_of, 29.0),
    Claim(
        "organs",
        "3.1",
        "23 organs and 6 tumours",
        "organs among them, a kidney cyst not taken for one",
        partial(counted.targets_of, kind="organ"),
        23.0,
    ),
    Claim(
        "public_cases",
        "3.1",
        "Statistics of the aggregated dataset [...] AMOS (CT) 500",
        "public labelled cases as a share of the count that Table 1 prints, for the dataset where it is least",
        counted.public_cases,
        100.0,
    ),
)
RESULTS = (
    Claim(
        "variance_finds_errors",
        "3.2",
        UNCERTAINTY,
        "area under the curve with which the variance map tells wrong voxels from right ones, in per cent (chance: "
        "50); mean over held-out patients of their targets, within 20 mm of each target's box",
        held_out.variance_finds_errors,
    ),
    Claim(
        "doubt_follows_error",
        "3.2",
        UNCERTAINTY,
        "rank correlation over held-out patients of mean uncertainty with mean error (100 less Dice)",
        held_out.doubt_follows_error,
    ),
    Claim(
        "ensembling",
        "3.2",
        UNCERTAINTY,
        "Dice of the largest ensemble's mean less that of a single sample, at the most steps of the sampling sweep",
        counted.ensembling,
    ),
    Claim(
        "mask_over_noise",
        "3.2",
        "This adjustment leverages the conditionally strong signal from the image itself, allowing the model to focus "
        "on capturing finer details in segmentation. [...] As shown in Table 2, this approach has proven advantageous",
        "Dice of mask less noise prediction, paired by patient; mean over the targets of Table 2 and both embeddings",
        msd.mask_over_noise,
    ),
    Claim(
        "mask_over_noise_held_out",
        "3.2",
        "this approach has proven advantageous",
        HELD_OUT.format("both embeddings"),
        partial(held_out.mask_over_noise, embeddings=("learnt", "clip")),
    ),
    Claim(
        "mask_over_noise_held_out_learnt",
        "3.2",
        "this approach has proven advantageous",
        HELD_OUT.format("learnt embeddings"),
        partial(held_out.mask_over_noise, embeddings=("learnt",)),
    ),
    Claim(
        "mask_over_noise_held_out_clip",
        "3.2",
        "this approach has proven advantageous",
        HELD_OUT.format("CLIP embeddings"),
        partial(held_out.mask_over_noise, embeddings=("clip",)),
    ),
    Claim(
        "smaller_structures",
        "3.2",
        "this approach has proven advantageous, particularly for smaller structures",
        "the gain of mask over noise prediction on the tumours of Table 2 less that on its organs; p over patients who "
        "hold both",
        msd.tumours_over_organs,
    ),
    Claim(
        "smaller_by_volume",
        "3.2",
        "particularly for smaller structures",
        "rank correlation, within a patient, of the same gain with how small a target is; mean over held-out patients",
        held_out.small_gain_more,
    ),
    Claim(
        "named_structures",
        "3.2",
        "particularly for small anatomical structures such as liver tumors, pancreas, intestines, and blood vessels",
        "the same gain on liver tumours, pancreas, duodenum, intestine, colon, aorta and veins less that on the "
        "patient's other targets; mean over held-out patients",
        held_out.named_gain_more,
    ),
    Claim(
        "liver_tumours",
        "3.2",
        "liver tumors(+13.5%)",
        "Dice of mask less noise prediction on the liver tumours of MSD, CLIP rows",
        msd.liver_tumours,
        13.5,
        again=(("3.2", "as evidenced by the significant improvements in Dice score"),),
    ),
    Claim(
        "pancreas_tumours",
        "3.2",
        "pancreatic tumors(+7%)",
        "Dice of mask less noise prediction on the pancreas tumours of MSD, learnt rows",
        msd.pancreas_tumours,
        7.0,
        again=(("3.2", "as evidenced by the significant improvements in Dice score"),),
    ),
    Claim(
        "precision_kept",
        "3.2",
        "without sacrificing segmentation precision",
        "Dice of the decoded against the encoded mask, less 100; mean over validation patients of their targets",
        counted.plain_loss,
    ),
)
GENERALISATION = (
    Claim(
        "specialists_fail",
        "3.2.1",
        "specialist models, whose limited training dataset renders them more susceptible to the intrinsic imaging "
        "noise",
        NONE,
        not_run(NO_SPECIALIST),
    ),
    Claim(
        "unseen_data",
        "3.2.1",
        "an external dataset covering CT abdominal imaging that was not used in our training dataset",
        "test patients of whom no scan stands in a training archive, in per cent, before the audit leaves any out",
        counted.unseen_patients,
        100.0,
    ),
    Claim(
        "second_best",
        "3.2.1",
        "achieves an average Dice score of 86.98% on the 3D-IRCADb dataset, ranking as the second-best model overall",
        "our average over seven organs, counted as the printed ones are (clip-universal), less the second-highest that "
        "Table 3 prints for another model; above the highest, how far it is below that",
        unseen.over_second_best,
    ),
    Claim(
        "outperforms_specialised",
        "3.2.1",
        "it consistently outperforms several specialized models, such as nnFormer and Swin UNETR",
        "our organ mean (clip-universal) less the better of the two printed, at the organ where this is least sure",
        unseen.over_named,
    ),
    Claim(
        "left_kidney",
        "3.2.1",
        "our model scores 93.97% on the left kidney, compared to nnFormer’s 88.20%",
        "our left kidney (clip-universal) less 88.20, which Table 3 prints for nnFormer's right kidney",
        unseen.left_kidney,
        5.77,
    ),
    Claim(
        "pancreas_weakest",
        "3.2.1",
        "our model struggles with certain structures, such as the pancreas (Dice score of 81.63%)",
        "mean Dice of the weakest other organ less that of the pancreas (Table 3 itself prints the stomach lowest)",
        unseen.pancreas_is_weakest,
    ),
    Claim(
        "pancreas_rare",
        "3.2.1",
        "This could be due to the limited representation of the pancreas in the dataset",
        "training cases in which an organ is annotated: mean of the six others of Table 3 as a multiple of the "
        "pancreas's",
        counted.pancreas_is_rare,
    ),
    Claim(
        "pancreas_small",
        "3.2.1",
        "or its small size",
        "volume of the gallbladder, the smallest other organ of Table 3, less that of the pancreas, paired by patient",
        unseen.pancreas_is_smallest,
    ),
    Claim(
        "clip_universal_best",
        "3.2.1",
        "CLIP Universal model achieves the highest average Dice score of 91.62% across the structures",
        NONE,
        not_run(OTHERS + "; the seven organs printed average 93.05"),
    ),
    Claim(
        "clip_explains",
        "3.2.1",
        "This superior performance is likely due to the model’s use of CLIP embeddings",
        NONE,
        not_run(OTHERS + ", with CLIP or without"),
    ),
    Claim(
        "clip_over_learnt",
        "3.2.1",
        "CLIP embeddings, which integrate both anatomical and semantic context, enabling the model to better capture "
        "the intrinsic relationships among different anatomical structures",
        "Dice of CLIP less learnt embeddings in our model, masks predicted; mean over the targets of Table 2",
        msd.clip_over_learnt,
    ),
    Claim(
        "clip_adapts",
        "3.2.1",
        "The vision-language framework of CLIP provides robust contextual cues, allowing CLIP Universal to adapt "
        "effectively to new datasets",
        "the same in our model, on the organs of the unseen set",
        unseen.clip_over_learnt,
    ),
    Claim(
        "clip_intensive",
        "3.2.1",
        "Unlike CLIP Universal, which relies heavily on computationally intensive, pre-trained CLIP embeddings",
        "operations of projecting a CLIP embedding as a multiple of one step of our denoiser; the text is encoded "
        "once, before training",
        counted.embedding_cost,
    ),
    Claim(
        "no_pretraining",
        "3.2.1",
        "achieves high segmentation accuracy with a streamlined, diffusion-based architecture that does not require "
        "such pre-training",
        "Dice of learnt less CLIP embeddings in our model, masks predicted; mean over the targets of Table 2",
        msd.learnt_over_clip,
    ),
    Claim(
        "fewer_resources",
        "3.2.1",
        "This design reduces complexity and resource demands, making deployment and maintenance far more feasible",
        "SegResNet's operations for all targets of a window as a multiple of ours",
        counted.beside_segresnet,
    ),
    Claim(
        "balance",
        "3.2.1",
        "our approach strikes an optimal balance between accuracy, efficiency, and flexibility",
        NONE,
        not_run("the paper names no measure of balance"),
    ),
)
CONCLUSION = (
    Claim(
        "joint_distribution",
        "4",
        "a diffusion back-boned model is capable of effectively modelling the joint distribution of several anatomical "
        "structures within a single, shared architecture",
        NONE,
        not_run("each target is sampled by itself (section 2), so there is no joint sample to test"),
    ),
)
CLAIMS = (*ABSTRACT, *INTRODUCTION, *METHOD, *DATA, *RESULTS, *GENERALISATION, *CONCLUSION)
