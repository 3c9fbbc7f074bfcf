"""SLURM: its commands, its controller, its accounting, and what the profile still leaves for its user to say."""

from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.profiles import Profile
from universal_diffusion.doctor.programs import ask

PLACEHOLDER = "project"  # the account in the profile as it is shipped
KEY = "slurm_partition"


def check_slurm(asked: Asked) -> list[Finding]:
    """A line on SLURM; with its profile, one for everything that would keep jobs from being taken."""
    controller = ask(["sinfo", "--noheader", "--format=%R"])
    if not controller.ok:
        why = (controller.errors.strip().splitlines() or ["it fails"])[-1]
        if not asked.slurm:
            return [Finding("slurm", f"none ({why}); only needed for --profile workflow/profiles/slurm", "note")]
        return [Finding("slurm", f"sinfo: {why}", "missing", "log in to the cluster, or run without the SLURM profile")]
    partitions = controller.output.split()
    up = Finding("slurm", f"answers; partitions {', '.join(partitions)}; {_accounting()}")
    return [up, *_profile_findings(asked.profile, partitions)] if asked.slurm else [up]


def _accounting() -> str:
    told = ask(["sacct", "--noheader", "--allocations"])
    return "accounting (sacct) answers" if told.ok else "no accounting: the profile's `squeue` needs none"


def _profile_findings(profile: Profile, partitions: list[str]) -> list[Finding]:
    content = profile.content
    sections = [content.get("default-resources", {}), *content.get("set-resources", {}).values()]
    lines = []
    if _text(sections[0].get("slurm_account")) == PLACEHOLDER:
        remedy = f"write yours into {profile.file}, or drop the line where there are no accounts"
        lines.append(Finding("slurm", f"the account is still {PLACEHOLDER!r}", "missing", remedy))
    asked_for = {_text(section[KEY]) for section in sections if KEY in section}
    if unknown := sorted(asked_for - set(partitions)):
        remedy = f"write the cluster's own ({', '.join(partitions)}) into {profile.file}"
        lines.append(Finding("slurm", f"no partition {', '.join(unknown)} here", "missing", remedy))
    return lines or [Finding("slurm", f"{profile.file} names partitions that are here")]


def _text(value: object) -> str:
    """A resource as SLURM gets it: the profile holds Python expressions, of which a quoted name is one."""
    return str(value).strip("'\"")
