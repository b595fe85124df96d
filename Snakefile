# Deep Fusion as a workflow: which command makes which file. Targets:
#   snakemake extract_features   clips -> results/<corpus>/features.h5
#   snakemake preflight          estimated frames, disk space and time per stage, from a trial on a few clips
#   snakemake train_fbp          FBP, tested on unseen speakers, and a model for new clips
#   snakemake report             results of train_fbp as a page: results/<corpus>/report.html
#   snakemake fusion_study       all fusion models on the same features and folds: results/<corpus>/study.html
#   snakemake finetune           retrain the face networks on FER2013 (their weights are in the package)
#   snakemake pretrain_audio     retrain the audio encoder on emotional speech (its weights are in the package)
#   snakemake fetch_weights      download the weights of the preset `paper`
#   snakemake                    extract_features and train_fbp
# config.yaml sets what is computed; profiles/default/config.yaml sets how it runs (cores, ...).

import math
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import SharedFSUsage

from deepfusion.config import check
from deepfusion.device import has_gpu
from deepfusion.errors import MachineError, UserError
from deepfusion.plan import Plan
from deepfusion.speech.manifest import stamps
from deepfusion.versions import VERSIONS

# Jobs share the terminal, so they print progress as lines, not bars.
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
    SHARDS, FETCHED, FROZEN = PLAN.shards, sorted(PLAN.fetched), PLAN.is_frozen
    if workflow.is_main_process and "--unlock" not in sys.argv:
        if any(Path(".snakemake/locks").glob("*")) and "--nolock" not in sys.argv:
            raise MachineError(
                LOCKED
            )  # raised before writing anything that another run reads
        if FROZEN:
            print(PLAN.as_it_is, file=sys.stderr)
        else:
            for line in filter(None, (PLAN.no_encoder, PLAN.vanished)):
                print(line, file=sys.stderr)
            PLAN.write()
except (UserError, MachineError) as error:
    raise WorkflowError(str(error)) from None


onstart:
    # Snakemake 9 limits itself to 100 jobs per second. To do so it re-examines all jobs, once per finished job, which takes
    # all its time after some hundred jobs; only a cluster needs the limit. It also examines every clip of each job that
    # could start, so consider no more jobs than there are cores.
    # Both attributes are internal to Snakemake: a version without them ignores this.
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
