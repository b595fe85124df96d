# Deep Fusion. This file wires: which command makes which file. The targets:
#   snakemake extract_features   clips -> results/<corpus>/features.h5
#   snakemake preflight          what that will take: frames, disk, time of each stage, by a trial on a few clips
#   snakemake train_fbp          FBP, tested on speakers that it has not seen, and a model for new clips
#   snakemake report             its results as a page: results/<corpus>/report.html
#   snakemake fusion_study       every way of fusion on the same features and folds: results/<corpus>/study.html
#   snakemake finetune           the face networks, anew from FER2013 (their weights come with the project)
#   snakemake pretrain_audio     the audio encoder, from emotional speech (its weights come with the project)
#   snakemake fetch_weights      the published networks of the preset `paper`
#   snakemake                    extract_features and train_fbp
# How it runs (cores, ...) stands in profiles/default/config.yaml; what is computed, in config.yaml.

import math
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import SharedFSUsage

from deepfusion.config import check
from deepfusion.errors import MachineError, UserError
from deepfusion.plan import Plan
from deepfusion.versions import VERSIONS

# Jobs share the terminal: they tell their progress in lines, not in bars.
shell.prefix("set -euo pipefail; export DEEPFUSION_PROGRESS=lines; ")


LOCKED = (
    "This folder is locked: another run works here, or one was killed. If none works here, run\n"
    "    snakemake --unlock\n"
    "and then the same command again: it goes on from the finished shards."
)


configfile: "config.yaml"


try:
    PLAN = Plan(check(config, workflow.configfiles))
    CONFIG, OUT = PLAN.config, str(PLAN.folder)
    SHARDS, FETCHED = PLAN.shards, sorted(PLAN.fetched)
    if workflow.is_main_process and "--unlock" not in sys.argv:
        if any(Path(".snakemake/locks").glob("*")) and "--nolock" not in sys.argv:
            raise MachineError(
                LOCKED
            )  # before anything that another run reads is written
        if PLAN.is_frozen:
            print(
                f"no media file is there: {PLAN.store} is used as it is",
                file=sys.stderr,
            )
        else:
            if PLAN.no_encoder:
                print(PLAN.no_encoder, file=sys.stderr)
            PLAN.write()
except (UserError, MachineError) as error:
    raise WorkflowError(str(error)) from None


onstart:
    # To keep its limit of 100 jobs a second, Snakemake 9 looks at all jobs anew each second, once for every job that has
    # ended: after some hundred jobs it does nothing else. Only a cluster needs the limit. And of the jobs that could start
    # it need look at no more than there are cores: it looks at all their clips.
    # Neither name is promised by Snakemake: one that has others runs as it likes.
    scheduler = getattr(workflow, "scheduler", None)
    if scheduler is not None and getattr(workflow, "local_exec", False):
        scheduler.job_rate_limiter = None
        scheduler.subsample = max(8, workflow.cores)


wildcard_constraints:
    shard=r"\d{5}",


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/preflight.smk"
include: "workflow/rules/faces.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/spectrogram.smk"
include: "workflow/rules/audio_encoder.smk"
include: "workflow/rules/store.smk"
include: "workflow/rules/fusion.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/pretrain_audio.smk"
include: "workflow/rules/weights.smk"


rule extract_features:
    input:
        STORE,


rule train_fbp:
    input:
        rules.fbp.output,


rule report:
    input:
        rules.report_fbp.output,


rule fusion_study:
    input:
        rules.report_study.output,


rule all:
    default_target: True
    input:
        rules.extract_features.input,
        rules.train_fbp.input,
