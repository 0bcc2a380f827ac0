"""For each statement of a role the least that cannot be done without it."""

from collections.abc import Awaitable, Callable, Mapping

from tests.deploy import trials_of_sources as sources
from tests.deploy import trials_of_targets as targets
from tests.deploy.forging import Forge, Trial

TRIALS: Mapping[str, Mapping[str, Callable[[Forge], Awaitable[Trial]]]] = {
    "planner": {
        "PlannerFindsUploads": sources.a_scan,
        "PlannerTellsMissingFromForbidden": sources.a_scan,
        "PlannerKeepsPlans": sources.a_scan,
        "PlannerHoldsLeases": sources.a_load_that_failed,
        "PlannerWritesTheLedger": sources.a_scan,
        "PlannerMovesWatermarks": sources.a_scan,
        "PlannerFindsSettled": sources.a_scan,
        "PlannerReadsHeads": sources.a_scan,
        "PlannerRecordsSchemas": sources.a_preview_of_a_load,
        "PlannerSharesTheBudget": sources.a_preview_of_rows,
        "PlannerSendsCommands": sources.a_replay,
        "PlannerLooksAtCheckpoints": sources.a_scan,
        "PlannerShowsWatermarks": sources.a_load_that_failed,
        "PlannerAnnouncesFacts": sources.a_load_that_failed,
        "PlannerFindsTheTopic": sources.a_load_that_failed,
        "PlannerReadsItsSecrets": sources.a_preview_of_a_load,
    },
    "fetcher": {
        "FetcherWritesRaw": sources.a_range,
        "FetcherTellsMissingFromForbidden": sources.a_range,
        "FetcherSettlesInTheLedger": sources.a_range,
        "FetcherSharesTheBudget": sources.a_range,
        "FetcherWritesRunLogs": sources.a_range_of_a_failed_run,
        "FetcherAnnouncesFacts": sources.a_range_of_a_failed_run,
        "FetcherFindsTheTopic": sources.a_range_of_a_failed_run,
        "FetcherReadsItsSecrets": sources.a_slice,
    },
    "validator": {
        "ValidatorReadsRaw": targets.a_good_upload,
        "ValidatorRedeemsClaims": targets.a_planned_segment,
        "ValidatorWritesSegments": targets.a_good_upload,
        "ValidatorFillsQuarantine": targets.a_bad_upload,
        "ValidatorSettlesInTheLedger": targets.a_good_upload,
        "ValidatorRecordsColumns": targets.a_strange_row,
        "ValidatorWritesRunLogs": targets.a_raw_object_of_a_failed_run,
        "ValidatorAnnouncesFacts": targets.a_raw_object_of_a_failed_run,
        "ValidatorFindsTheTopic": targets.a_raw_object_of_a_failed_run,
    },
    "merger": {
        "MergerReadsSegments": targets.a_validated_segment,
        "MergerWritesTables": targets.a_validated_segment,
        "MergerListsTables": targets.a_validated_segment,
        "MergerKeepsCommits": targets.a_validated_segment,
        "MergerHoldsLeases": targets.a_validated_segment,
        "MergerCommits": targets.a_validated_segment,
        "MergerMarksRows": targets.a_validated_segment,
        "MergerSettlesInTheLedger": targets.a_validated_segment,
        "MergerMovesWatermarks": targets.a_validated_segment,
        "MergerSharesLargeLoads": targets.a_load_in_pieces,
        "MergerAnnouncesFacts": targets.a_validated_segment,
        "MergerFindsTheTopic": targets.a_validated_segment,
    },
    "chunk_worker": {
        "ChunkWorkerReadsPlans": targets.chunks_of_no_snapshot,
        "ChunkWorkerTellsMissingFromForbidden": targets.chunks_of_no_snapshot,
        "ChunkWorkerHoldsLeases": targets.chunks_of_no_snapshot,
        "ChunkWorkerSettlesInTheLedger": targets.chunks_of_no_snapshot,
        "ChunkWorkerGivesUpChunks": targets.a_chunk_of_no_run,
        "ChunkWorkerAnswersStateMachines": targets.an_action_of_a_machine,
        "ChunkWorkerAnnouncesFacts": targets.chunks_of_no_snapshot,
        "ChunkWorkerFindsTheTopic": targets.chunks_of_no_snapshot,
        "ChunkWorkerReadsItsSecrets": targets.chunks_of_no_snapshot,
    },
}
"""What is denied without a statement: by service and statement."""
