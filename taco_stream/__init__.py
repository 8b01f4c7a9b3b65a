"""Evaluate code language models on TACO, generating and judging at once.

The public names are those that this module exports, `from taco_stream import LocalEngine`; `docs/api.md` describes it.
Every other module and name is private and may change in any release. A name is loaded when it is first asked for, so
`import taco_stream` is cheap: `torch`, `pyarrow` and the event loop are imported with the parts that need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow `_HOMES`; tests/test_api.py compares the two
    from taco_stream.datasets.open import open_dataset as open_dataset
    from taco_stream.datasets.rows import BadRow as BadRow
    from taco_stream.datasets.selection import Selection as Selection
    from taco_stream.datasets.selection import Shard as Shard
    from taco_stream.engine.base import Engine as Engine
    from taco_stream.engine.local.engine import LocalEngine as LocalEngine
    from taco_stream.engine.scripted import Script as Script
    from taco_stream.engine.scripted import ScriptedEngine as ScriptedEngine
    from taco_stream.engine.server.engine import ServerEngine as ServerEngine
    from taco_stream.engine.settings import ModelSettings as ModelSettings
    from taco_stream.engine.settings import ServerSettings as ServerSettings
    from taco_stream.engine.stream import completions as completions
    from taco_stream.errors import DatasetError as DatasetError
    from taco_stream.errors import EngineError as EngineError
    from taco_stream.errors import EvaluatorError as EvaluatorError
    from taco_stream.errors import ModelError as ModelError
    from taco_stream.errors import RunInUseError as RunInUseError
    from taco_stream.errors import RunMismatchError as RunMismatchError
    from taco_stream.errors import StoreError as StoreError
    from taco_stream.errors import TacoStreamError as TacoStreamError
    from taco_stream.errors import UsageError as UsageError
    from taco_stream.evaluator.blocking import BlockingEvaluator as BlockingEvaluator
    from taco_stream.evaluator.blocking import open_evaluator as open_evaluator
    from taco_stream.evaluator.pool import Evaluator as Evaluator
    from taco_stream.evaluator.protocol import Limits as Limits
    from taco_stream.evaluator.settings import EvaluatorSettings as EvaluatorSettings
    from taco_stream.events import ClockCountsLoad as ClockCountsLoad
    from taco_stream.events import CoresDivided as CoresDivided
    from taco_stream.events import DeviceDropped as DeviceDropped
    from taco_stream.events import EngineEvent as EngineEvent
    from taco_stream.events import EvaluatorEvent as EvaluatorEvent
    from taco_stream.events import EvaluatorRestarted as EvaluatorRestarted
    from taco_stream.events import Event as Event
    from taco_stream.events import GenerateFallback as GenerateFallback
    from taco_stream.events import GraphsOff as GraphsOff
    from taco_stream.events import JudgingFailed as JudgingFailed
    from taco_stream.events import NodeJoined as NodeJoined
    from taco_stream.events import NodeLost as NodeLost
    from taco_stream.events import NodeRefused as NodeRefused
    from taco_stream.events import OneRowAtATime as OneRowAtATime
    from taco_stream.events import PrefillHalved as PrefillHalved
    from taco_stream.events import PromptTooLong as PromptTooLong
    from taco_stream.events import RequestCondemned as RequestCondemned
    from taco_stream.events import RunFinished as RunFinished
    from taco_stream.events import RunGauges as RunGauges
    from taco_stream.events import RunMerged as RunMerged
    from taco_stream.events import RunResumed as RunResumed
    from taco_stream.events import RunStarted as RunStarted
    from taco_stream.events import SamplingRecommended as SamplingRecommended
    from taco_stream.events import ServerChanged as ServerChanged
    from taco_stream.events import ServerDown as ServerDown
    from taco_stream.events import ServerFieldDropped as ServerFieldDropped
    from taco_stream.events import ServerFieldIgnored as ServerFieldIgnored
    from taco_stream.events import ServerLimit as ServerLimit
    from taco_stream.events import ServerOverloaded as ServerOverloaded
    from taco_stream.events import ServerUp as ServerUp
    from taco_stream.events import SlotsFailed as SlotsFailed
    from taco_stream.events import SlotsHalved as SlotsHalved
    from taco_stream.events import VerdictCacheClosed as VerdictCacheClosed
    from taco_stream.events import WeightsUnused as WeightsUnused
    from taco_stream.events import WorkerRestarted as WorkerRestarted
    from taco_stream.extraction import Extraction as Extraction
    from taco_stream.extraction import extract_base as extract_base
    from taco_stream.extraction import extract_chat as extract_chat
    from taco_stream.formats.samples import ProblemRecords as ProblemRecords
    from taco_stream.metrics import Estimate as Estimate
    from taco_stream.metrics import Scores as Scores
    from taco_stream.metrics import Tally as Tally
    from taco_stream.metrics import mean_estimate as mean_estimate
    from taco_stream.metrics import pass_at_k as pass_at_k
    from taco_stream.notebook.evaluation import Evaluation as Evaluation
    from taco_stream.notebook.evaluation import evaluate as evaluate
    from taco_stream.notebook.evaluation import evaluate_blocking as evaluate_blocking
    from taco_stream.notebook.loaded_run import LoadedRun as LoadedRun
    from taco_stream.notebook.loaded_run import load_run as load_run
    from taco_stream.prompting import base_prompt as base_prompt
    from taco_stream.prompting import chat_prompt as chat_prompt
    from taco_stream.report.summary import Coverage as Coverage
    from taco_stream.report.summary import LongPrompt as LongPrompt
    from taco_stream.report.summary import Summary as Summary
    from taco_stream.report.summary import Throughput as Throughput
    from taco_stream.rewards.shared_evaluators import close_evaluators as close_evaluators
    from taco_stream.rewards.trl import AsyncTrlReward as AsyncTrlReward
    from taco_stream.rewards.trl import TrlReward as TrlReward
    from taco_stream.rewards.verifiers import VerifiersReward as VerifiersReward
    from taco_stream.rewards.verl import verl_compute_score as verl_compute_score
    from taco_stream.rewards.verl import verl_compute_score_async as verl_compute_score_async
    from taco_stream.statistics import EngineStatistics as EngineStatistics
    from taco_stream.statistics import EvaluatorStatistics as EvaluatorStatistics
    from taco_stream.statistics import RunStatistics as RunStatistics
    from taco_stream.types import ChatMessage as ChatMessage
    from taco_stream.types import ChatPrompt as ChatPrompt
    from taco_stream.types import ComparisonMode as ComparisonMode
    from taco_stream.types import Completion as Completion
    from taco_stream.types import ExecutionResult as ExecutionResult
    from taco_stream.types import ExtractionMethod as ExtractionMethod
    from taco_stream.types import FinishReason as FinishReason
    from taco_stream.types import Observations as Observations
    from taco_stream.types import Problem as Problem
    from taco_stream.types import Prompt as Prompt
    from taco_stream.types import Record as Record
    from taco_stream.types import Request as Request
    from taco_stream.types import SampleKey as SampleKey
    from taco_stream.types import SamplingParameters as SamplingParameters
    from taco_stream.types import SpecialJudge as SpecialJudge
    from taco_stream.types import Status as Status
    from taco_stream.types import TextPrompt as TextPrompt
    from taco_stream.types import Verdict as Verdict

__version__ = "0.1.0"

_HOMES = {
    "open_dataset": "taco_stream.datasets.open",
    "BadRow": "taco_stream.datasets.rows",
    "Selection": "taco_stream.datasets.selection",
    "Shard": "taco_stream.datasets.selection",
    "base_prompt": "taco_stream.prompting",
    "chat_prompt": "taco_stream.prompting",
    "Engine": "taco_stream.engine.base",
    "LocalEngine": "taco_stream.engine.local.engine",
    "Script": "taco_stream.engine.scripted",
    "ScriptedEngine": "taco_stream.engine.scripted",
    "ModelSettings": "taco_stream.engine.settings",
    "ServerEngine": "taco_stream.engine.server.engine",
    "ServerSettings": "taco_stream.engine.settings",
    "completions": "taco_stream.engine.stream",
    "Extraction": "taco_stream.extraction",
    "extract_base": "taco_stream.extraction",
    "extract_chat": "taco_stream.extraction",
    "Evaluator": "taco_stream.evaluator.pool",
    "BlockingEvaluator": "taco_stream.evaluator.blocking",
    "open_evaluator": "taco_stream.evaluator.blocking",
    "EvaluatorSettings": "taco_stream.evaluator.settings",
    "Limits": "taco_stream.evaluator.protocol",
    "TrlReward": "taco_stream.rewards.trl",
    "AsyncTrlReward": "taco_stream.rewards.trl",
    "verl_compute_score": "taco_stream.rewards.verl",
    "verl_compute_score_async": "taco_stream.rewards.verl",
    "VerifiersReward": "taco_stream.rewards.verifiers",
    "close_evaluators": "taco_stream.rewards.shared_evaluators",
    "evaluate": "taco_stream.notebook.evaluation",
    "evaluate_blocking": "taco_stream.notebook.evaluation",
    "Evaluation": "taco_stream.notebook.evaluation",
    "ProblemRecords": "taco_stream.formats.samples",
    "load_run": "taco_stream.notebook.loaded_run",
    "LoadedRun": "taco_stream.notebook.loaded_run",
    "Summary": "taco_stream.report.summary",
    "Coverage": "taco_stream.report.summary",
    "LongPrompt": "taco_stream.report.summary",
    "Throughput": "taco_stream.report.summary",
    "Estimate": "taco_stream.metrics",
    "Scores": "taco_stream.metrics",
    "Tally": "taco_stream.metrics",
    "mean_estimate": "taco_stream.metrics",
    "pass_at_k": "taco_stream.metrics",
    "ChatMessage": "taco_stream.types",
    "ChatPrompt": "taco_stream.types",
    "Completion": "taco_stream.types",
    "ComparisonMode": "taco_stream.types",
    "ExecutionResult": "taco_stream.types",
    "ExtractionMethod": "taco_stream.types",
    "FinishReason": "taco_stream.types",
    "Observations": "taco_stream.types",
    "Problem": "taco_stream.types",
    "Prompt": "taco_stream.types",
    "Record": "taco_stream.types",
    "Request": "taco_stream.types",
    "SampleKey": "taco_stream.types",
    "SamplingParameters": "taco_stream.types",
    "SpecialJudge": "taco_stream.types",
    "Status": "taco_stream.types",
    "TextPrompt": "taco_stream.types",
    "Verdict": "taco_stream.types",
    "EngineStatistics": "taco_stream.statistics",
    "EvaluatorStatistics": "taco_stream.statistics",
    "RunStatistics": "taco_stream.statistics",
    "Event": "taco_stream.events",
    "EngineEvent": "taco_stream.events",
    "EvaluatorEvent": "taco_stream.events",
    "RunStarted": "taco_stream.events",
    "RunMerged": "taco_stream.events",
    "RunResumed": "taco_stream.events",
    "RunGauges": "taco_stream.events",
    "RunFinished": "taco_stream.events",
    "PromptTooLong": "taco_stream.events",
    "SamplingRecommended": "taco_stream.events",
    "WeightsUnused": "taco_stream.events",
    "SlotsFailed": "taco_stream.events",
    "GenerateFallback": "taco_stream.events",
    "OneRowAtATime": "taco_stream.events",
    "GraphsOff": "taco_stream.events",
    "PrefillHalved": "taco_stream.events",
    "SlotsHalved": "taco_stream.events",
    "WorkerRestarted": "taco_stream.events",
    "CoresDivided": "taco_stream.events",
    "DeviceDropped": "taco_stream.events",
    "RequestCondemned": "taco_stream.events",
    "ServerUp": "taco_stream.events",
    "ServerDown": "taco_stream.events",
    "ServerOverloaded": "taco_stream.events",
    "ServerLimit": "taco_stream.events",
    "ServerFieldDropped": "taco_stream.events",
    "ServerFieldIgnored": "taco_stream.events",
    "ServerChanged": "taco_stream.events",
    "ClockCountsLoad": "taco_stream.events",
    "EvaluatorRestarted": "taco_stream.events",
    "JudgingFailed": "taco_stream.events",
    "NodeJoined": "taco_stream.events",
    "NodeLost": "taco_stream.events",
    "NodeRefused": "taco_stream.events",
    "VerdictCacheClosed": "taco_stream.events",
    "DatasetError": "taco_stream.errors",
    "EngineError": "taco_stream.errors",
    "EvaluatorError": "taco_stream.errors",
    "ModelError": "taco_stream.errors",
    "RunInUseError": "taco_stream.errors",
    "RunMismatchError": "taco_stream.errors",
    "StoreError": "taco_stream.errors",
    "TacoStreamError": "taco_stream.errors",
    "UsageError": "taco_stream.errors",
}
"""The module that defines each public name, in the order of the reference."""

__all__ = list(_HOMES)

if not TYPE_CHECKING:  # a type checker that saw it would accept every name

    def __getattr__(name: str) -> object:
        """Imports a public name when it is first used (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
