"""The mutations of :mod:`mutations`: what is broken, how, and the tests that fail for it."""

from __future__ import annotations

import attrs

Edit = tuple[str, str, str]
"""A file, a text that stands in it exactly once, and what takes its place."""


@attrs.frozen
class Mutation:
    """``invariant`` is what the edits break, of what the design promises or of the rules that are easy to get wrong.

    Each of ``tests`` (pytest's names) fails by an assertion once all ``edits`` are made.
    """

    name: str
    invariant: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def markdown_row(mutation: Mutation) -> str:
    """One line of the table in ``docs/engineering/guarantees.md``."""
    caught_by = ", ".join(f"`{test.removeprefix('tests/')}`" for test in mutation.tests)
    return f"| {mutation.name} | {mutation.invariant} | {caught_by} |"


def _mutation(name: str, invariant: str, tests: str | tuple[str, ...], *edits: Edit) -> Mutation:
    return Mutation(name, invariant, edits, (tests,) if isinstance(tests, str) else tests)


_FACTS = "facts in, meaning out"
_APPEND = "append only"
_DURABLE = "durable before known"
_ONCE = "same twice is same once"
_OWN_TROUBLE = "one sink's trouble is its own"
_DAMAGE = "damage is found and told"
_BOUNDED = "bounded"
_SECRET = "nothing secret leaves"
_DOSE = "a wrong dose is worse than a missing one"
_TIME = "true time"
_NUMBERED = "numbered beats unnumbered"
_PUMPS = "several pumps, one wearer"
_BRAKES = "brakes"
_INHABITED = "inhabited sites"
_OLD_SERVERS = "keys of older servers"
_NO_DEDUP = "servers that store twice"
_REVISIONS = "revisions"
_NETWORK = "the network"

_TAIL = "tconnectsync/eventlog/tail.py"
_LINES = "tconnectsync/eventlog/framing.py"
_WRITER = "tconnectsync/eventlog/writer.py"
_KEEPING = "tconnectsync/runtime/sink_runner.py"
_FOLDING = "tconnectsync/projection/fold_runner.py"
_DELIVERY = "tconnectsync/outbox/sender.py"
_SENDING = "tconnectsync/outbox/queue.py"
_POLLING = "tconnectsync/ingest/poller.py"
_TCONNECT = "plugins/tconnectsync_tconnect"
_ANCHORING = "tconnectsync/timeline/anchoring.py"
_PLACEMENT = "tconnectsync/timeline/resolver.py"
_NIGHTSCOUT = "plugins/tconnectsync_nightscout"
_TANDEM = "plugins/tconnectsync_tandem"

_CUT = (
    "tests/eventlog/test_log_crashes.py::"
    "test_after_a_power_cut_at_any_call_nothing_known_is_lost_and_the_work_goes_on[{}]"
)

MUTATIONS: tuple[Mutation, ...] = (
    # --- 1 facts in, meaning out ----------------------------------------------------------------------------------------
    _mutation(
        "a record of an unknown code is dropped",
        _FACTS,
        "tests/tandem/test_tandem_answers.py::test_an_unknown_code_is_kept_verbatim_counted_once_and_told_once",
        (
            f"{_TANDEM}/windows.py",
            '                if event.kind == "unknown" or entry.notes:\n',
            (
                '                if event.kind == "unknown":\n'
                "                    continue\n"
                "                if entry.notes:\n"
            ),
        ),
    ),
    _mutation(
        "a fold that fails on one event stops all the others",
        _FACTS,
        "tests/engine/test_rules_damage.py::test_a_fold_that_fails_on_one_event_stops_alone_and_says_where",
        (
            _FOLDING,
            "            except FoldFailed as error:\n",
            "            except FoldFailed as error:\n                raise\n",
        ),
    ),
    _mutation(
        "without a time zone, UTC is taken",
        _DOSE,
        "tests/config/test_config_problems.py::test_without_a_zone_there_is_no_default",
        (
            "tconnectsync/config/reader.py",
            '        hint = f\'; TZ is "{ambient}", which names no place\' if ambient else ""\n',
            '        return "UTC"\n        hint = ""\n',
        ),
    ),
    _mutation(
        "TZ, which every container sets, wins over the configured zone",
        _DOSE,
        "tests/config/test_config_values.py::test_tz_loses_to_the_file_and_to_its_own_variable",
        (
            "tconnectsync/config/reader.py",
            '        if "timezone" in overlay.raw or "timezone" in overlay.broken:\n',
            '        if not tables.variable("TZ") and ("timezone" in overlay.raw or "timezone" in overlay.broken):\n',
        ),
    ),
    _mutation(
        "a file that tells a record in part only revises what the log holds of it",
        _REVISIONS,
        "tests/engine/test_importing.py::test_what_a_file_tells_in_part_is_taken_only_where_the_log_has_nothing",
        (
            "tconnectsync/jobs/import_files.py",
            "    return [event for event in events if event.id not in places], list(places.values())\n",
            "    return events, ()\n",
        ),
    ),
    _mutation(
        "of two revisions the later to arrive is the best",
        _REVISIONS,
        "tests/eventlog/test_log_contract.py::TestEventLogOnDisk::test_the_best_revision_does_not_depend_on_arrival",
        (
            "tconnectsync/eventlog/index.py",
            "best = max(found, key=lambda row: rank(row[0], row[1]))",
            "best = found[-1]",
        ),
    ),
    _mutation(
        "a newer decoder does not read the vendor's record again",
        _FACTS,
        "tests/eventlog/test_log_opening.py::test_a_newer_decoder_reads_the_vendors_record_again",
        (
            "tconnectsync/eventlog/codec.py",
            "if decoder is not None and decoder.decoder != version and found.raw is not None and kind not in FACTS:",
            "if decoder is not None and decoder.decoder < version and found.raw is not None and kind not in FACTS:",
        ),
    ),
    # --- 2 append only --------------------------------------------------------------------------------------------------
    _mutation(
        "an event's id holds the time of its receipt",
        _APPEND,
        "tests/tandem/test_tandem_polling.py::test_events_carry_identity_wall_time_and_the_record_verbatim",
        (
            f"{_TANDEM}/envelope.py",
            'identity = f"{SOURCE}:{pump}:{entry.group}:{entry.seq}"',
            'identity = f"{SOURCE}:{pump}:{entry.group}:{entry.seq}:{received_at.timestamp()}"',
        ),
    ),
    _mutation(
        "an event that is there is appended once more",
        _APPEND,
        "tests/eventlog/test_log_contract.py::TestEventLogOnDisk::test_appending_again_appends_nothing",
        (
            _WRITER,
            "if self._is_there(draft, earlier, stored):",
            "if not stored and self._is_there(draft, earlier, stored):",
        ),
    ),
    _mutation(
        "events older than the newest one folded are ignored",
        _APPEND,
        "tests/engine/test_engine.py::test_late_events_are_put_where_they_belong",
        (
            _FOLDING,
            "        self.outbox.mark(sorted(rows))\n",
            "        self.outbox.mark([row for row in sorted(rows) if self.outbox.next_interval(row[2], row[0], row[1]) is None])\n",
        ),
    ),
    _mutation(
        "events are ordered by the pump's clock instead of its numbers",
        _APPEND,
        "tests/eventlog/test_log_contract.py::TestEventLogOnDisk::test_a_clock_that_was_set_back_leaves_the_order_as_it_is",
        (
            "tconnectsync/eventlog/index_queries.py",
            '            "ORDER BY key, tie",\n',
            '            "ORDER BY pump_us, tie",\n',
        ),
    ),
    # --- 3 durable before known -----------------------------------------------------------------------------------------
    _mutation(
        "lines of the log are not synced",
        _DURABLE,
        _CUT.format("a first start"),
        (
            _TAIL,
            '            self._file.write(b"".join(parts))\n            self._file.sync()\n',
            '            self._file.write(b"".join(parts))\n',
        ),
    ),
    _mutation(
        "the folder is not synced when a segment begins",
        _DURABLE,
        _CUT.format("appends over segments"),
        (
            _TAIL,
            "            file.sync()\n            self._files.sync_folder(self._segments.folder)\n",
            "            file.sync()\n",
        ),
    ),
    _mutation(
        "what the process before left in the log is not synced when it is opened",
        _DURABLE,
        "tests/eventlog/test_log_crashes.py::"
        "test_what_a_killed_process_left_unsynced_is_durable_once_the_next_one_knows_it[a first start]",
        (_TAIL, "                self._confirm()\n", ""),
    ),
    _mutation(
        "the index takes up lines before they are synced",
        _DURABLE,
        _CUT.format("a first start"),
        (
            _TAIL,
            '            self._file.write(b"".join(parts))\n            self._file.sync()\n',
            '            self._file.write(b"".join(parts))\n',
        ),
        (
            _WRITER,
            "            self._take_up(taken, known)\n            if records:",
            "            self._take_up(taken, known)\n            tail._file.sync()\n            if records:",
        ),
    ),
    _mutation(
        "a source's position is written before the events that it speaks of",
        _DURABLE,
        "tests/tandem/test_tandem_polling.py::test_a_poll_that_is_killed_resumes_where_it_was",
        (
            f"{_TANDEM}/windows.py",
            "        before, days = self.done, (window[1] - window[0]).days + 1\n",
            (
                "        before, days = self.done, (window[1] - window[0]).days + 1\n"
                "        yield self._batch(pump, window, [window_fetched(pump, window, 0, now)])\n"
            ),
        ),
    ),
    _mutation(
        "a sink's cursor is committed before what is to be folded",
        _DURABLE,
        "tests/engine/test_engine.py::test_what_was_being_folded_when_the_process_died_is_folded_by_the_next_one",
        (
            "tconnectsync/projection/invalidation.py",
            "    if last != cursor:\n",
            (
                "    if last != cursor:\n"
                '        folding.outbox.put("cursor", str(last))\n'
                '        folding.outbox._db.execute("COMMIT")\n'
                '        folding.outbox._db.execute("BEGIN IMMEDIATE")\n'
            ),
        ),
    ),
    _mutation(
        "the outbox is not synced",
        _DURABLE,
        "tests/engine/test_delivery.py::test_what_the_outbox_commits_is_synced",
        ("tconnectsync/outbox/store.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"),
    ),
    _mutation(
        "documents are marked delivered before the receiver answers",
        _DURABLE,
        "tests/engine/test_delivery.py::test_a_process_that_dies_while_sending_leaves_the_attempt_unsure",
        (
            _DELIVERY,
            "            self.outbox.set_unsure(ids, True)\n",
            '            for delivery in batch:\n                self.outbox.taken(delivery, "")\n',
        ),
    ),
    _mutation(
        "an attempt is not noted before it is made",
        _DURABLE,
        "tests/engine/test_delivery.py::test_a_process_that_dies_while_sending_leaves_the_attempt_unsure",
        (_DELIVERY, "            self.outbox.set_unsure(ids, True)\n", "            pass\n"),
    ),
    # --- 4 same twice is same once --------------------------------------------------------------------------------------
    _mutation(
        "a document's identity holds its time",
        _ONCE,
        "tests/nightscout/test_fold_boluses.py::test_the_identity_does_not_depend_on_which_records_came",
        (
            f"{_NIGHTSCOUT}/documents.py",
            "return stream_id(self.pump, self.group, *parts)",
            "return stream_id(self.pump, self.group, self.at.isoformat(), *parts)",
        ),
    ),
    _mutation(
        "what no fold makes any more is not withdrawn",
        _ONCE,
        "tests/engine/test_projection_law.py::test_any_order_of_arrival_ends_in_the_same_documents",
        (
            "tconnectsync/outbox/documents.py",
            '"UPDATE document SET want = NULL, content = NULL, limbo = 0,',
            '"UPDATE document SET limbo = 0,',
        ),
    ),
    _mutation(
        "documents are put before the withdrawals whose place they take",
        _ONCE,
        "tests/engine/test_delivery.py::test_withdrawals_never_share_a_batch_with_what_may_take_their_place",
        (
            _DELIVERY,
            "return withdrawals or others",
            "return [one for one in others if one.document is not None] or others",
        ),
    ),
    _mutation(
        "two folds share a state",
        _ONCE,
        "tests/engine/test_projection_law.py::test_delivered_equals_the_fold_of_everything_whatever_happens",
        (
            "tconnectsync/outbox/checkpoints.py",
            '"SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval < ? ORDER BY interval DESC LIMIT 1"',
            '"SELECT state FROM checkpoint WHERE fold >= ? AND stream = ? AND interval < ? ORDER BY interval DESC, fold DESC LIMIT 1"',
        ),
    ),
    _mutation(
        "a changed state does not reach the intervals behind it",
        _ONCE,
        "tests/engine/test_projection_law.py::test_any_order_of_arrival_ends_in_the_same_documents",
        (_FOLDING, "elif changed and folded.following is not None:", "elif False:"),
    ),
    _mutation(
        "a device status whose answer was lost is sent again unseen",
        _NO_DEDUP,
        "tests/nightscout/test_receiver_nightscout.py::"
        "test_a_devicestatus_whose_answer_was_lost_is_looked_for_before_it_is_sent_again",
        (
            f"{_NIGHTSCOUT}/unkeyed.py",
            "known = task.old is not None or task.delivery.unsure or task.body is None",
            "known = task.old is not None or task.body is None",
        ),
    ),
    _mutation(
        "a treatment that moved is put without looking for its old copy",
        _OLD_SERVERS,
        "tests/nightscout/test_receiver_nightscout.py::test_a_moved_document_leaves_no_copy_behind",
        (
            f"{_NIGHTSCOUT}/keyed.py",
            "leaving if by_identifier else [*leaving, *doubtful]",
            "leaving",
        ),
        (
            f"{_NIGHTSCOUT}/keyed.py",
            "    if by_identifier:\n        outcomes |= _settle(",
            "    if False:\n        outcomes |= _settle(",
        ),
    ),
    _mutation(
        "documents are deleted by their time, whoever wrote them",
        _OLD_SERVERS,
        "tests/nightscout/test_receiver_nightscout.py::test_a_site_whose_filter_does_not_work_loses_nothing_of_others",
        (
            f"{_NIGHTSCOUT}/reading.py",
            (
                "                if copy is not None and copy.identifier in members:\n"
                "                    found[copy.identifier].append(copy)\n"
            ),
            (
                "                for identifier in members if copy is not None else ():\n"
                "                    found[identifier].append(copy)\n"
            ),
        ),
    ),
    _mutation(
        "of two documents with one time and type neither moves",
        _OLD_SERVERS,
        "tests/engine/test_delivery.py::test_of_two_documents_with_one_key_always_the_same_one_moves_by_a_millisecond",
        ("tconnectsync/outbox/documents.py", "return sum(1 for row in rows if row[0] < document.id)", "return 0"),
    ),
    _mutation(
        "a replay sends documents that were worth something for a while only",
        _ONCE,
        "tests/engine/test_delivery.py::test_a_replay_sends_nothing_that_was_worth_something_for_a_while_only",
        (_SENDING, " AND (worth_s IS NULL OR (interval = ?", " AND (1 OR (interval = ?"),
    ),
    _mutation(
        "after a wiped disk nothing is read back from the site",
        _ONCE,
        "tests/engine/test_engine.py::test_a_wiped_disk_doubles_and_orphans_nothing",
        ("tconnectsync/outbox/preflight.py", "                outbox.recognise(document)\n", "                pass\n"),
    ),
    # --- 5 one sink's trouble is its own --------------------------------------------------------------------------------
    _mutation(
        "any number of refusals in a row goes to the dead letters",
        _OWN_TROUBLE,
        "tests/engine/test_engine.py::test_what_was_refused_before_a_halt_is_tried_again_by_resume",
        (_DELIVERY, "return len(self.refused) >= HALT_AFTER", "return False"),
    ),
    _mutation(
        "a refused batch is set aside as a whole",
        _OWN_TROUBLE,
        "tests/engine/test_delivery.py::test_a_refused_batch_is_halved_until_the_culprit_is_alone_and_the_rest_goes_on",
        (
            _DELIVERY,
            "            if len(batch) == 1:\n                refused",
            "            if batch:\n                refused",
        ),
        (_DELIVERY, "self._note(batch, [refused], now)", "self._note(batch, [refused] * len(batch), now)"),
    ),
    _mutation(
        "a refusal of size is tried again as it was",
        _NETWORK,
        "tests/engine/test_batch_sizes.py::test_a_batch_that_fails_twice_is_halved_and_the_size_that_works_is_remembered[31]",
        (_DELIVERY, '            self.outbox.put("batch_size", size.to_json())\n', "            pass\n"),
    ),
    _mutation(
        "what may be the receiver's trouble condemns the document",
        _OWN_TROUBLE,
        "tests/engine/test_batch_sizes.py::test_a_receiver_that_is_full_for_hours_loses_nothing_and_needs_nobody[503]",
        (
            "tconnectsync/outbox/suspects.py",
            "strikes=self.strikes + self.others_passed",
            "strikes=self.strikes + STRIKES",
        ),
    ),
    _mutation(
        "one refusal of the credentials stops a sink",
        _NETWORK,
        "tests/engine/test_engine.py::test_one_refusal_of_the_receivers_is_a_hiccup",
        ("tconnectsync/retry/refusals.py", "COUNTS_FROM = 2\n", "COUNTS_FROM = 1\n"),
    ),
    # --- 6 damage is found and told -------------------------------------------------------------------------------------
    _mutation(
        "the checksum is not chained to the line before",
        _DAMAGE,
        "tests/eventlog/test_log_harm.py::test_a_harmed_file_is_told_mended_and_fetched_again[True-a_strangers_line-1]",
        (_LINES, "    crc = crc32(record, chain)\n", "    crc = crc32(record)\n"),
    ),
    _mutation(
        "a line counts as whole by its length",
        _DAMAGE,
        "tests/eventlog/test_log_damage.py::test_every_bit_flip_is_found_and_costs_at_most_its_neighbours",
        (
            _LINES,
            "            if framed == line:\n                if not",
            "            if len(framed) == len(line):\n                if not",
        ),
    ),
    _mutation(
        "a record is read without comparing its checksum",
        _DAMAGE,
        "tests/eventlog/test_log_damage.py::test_every_bit_flip_is_found_by_reading",
        (_LINES, "return frame(line[RECORD_AT:-2], chain)[0] == line", "return True"),
    ),
    _mutation(
        "a torn last line stays where it is",
        _DAMAGE,
        "tests/eventlog/test_log_damage.py::test_a_write_cut_at_any_byte_leaves_the_lines_before_it",
        (_TAIL, "            file.truncate(run.offset)\n", ""),
    ),
    _mutation(
        "the lock of the data folder is not taken",
        _DAMAGE,
        "tests/eventlog/test_folder_lock.py::test_a_second_owner_is_told_who_the_first_is",
        ("tconnectsync/eventlog/lock.py", "            _take(descriptor)\n", ""),
    ),
    _mutation(
        "a full disk does not stop polling",
        _DAMAGE,
        "tests/engine/test_engine.py::test_a_full_disk_stops_polling_and_nothing_else",
        (_POLLING, "        if room is not None:\n", "        if room is not None and self.source is None:\n"),
    ),
    _mutation(
        "there is no free-space floor",
        _DAMAGE,
        "tests/engine/test_free_space.py::test_polling_ends_where_the_outboxes_still_have_room",
        ("tconnectsync/disk_check.py", "    if free >= FREE_SPACE_FLOOR:\n", "    if free > 0:\n"),
    ),
    # --- 7 bounded ------------------------------------------------------------------------------------------------------
    _mutation(
        "a late event has everything behind it folded again",
        _BOUNDED,
        "tests/engine/test_projection_law.py::test_a_late_event_folds_about_one_interval_whatever_the_age_of_the_log",
        (
            "tconnectsync/outbox/checkpoints.py",
            "        if row is not None and bytes(row[0]) == state:\n            return False\n",
            "",
        ),
    ),
    _mutation(
        "a fold's state forgets nothing",
        _BOUNDED,
        "tests/nightscout/test_fold_boluses.py::test_the_state_forgets",
        (
            f"{_NIGHTSCOUT}/boluses.py",
            "return now - bolus.last_at > (EXTENDED_QUIET if waits else QUIET)",
            "return waits and False",
        ),
    ),
    # --- 8 nothing secret leaves ----------------------------------------------------------------------------------------
    _mutation(
        "a secret shows itself in its repr",
        _SECRET,
        "tests/config/test_config_values.py::test_secrets_are_known_to_redaction_and_shown_nowhere",
        (
            "tconnectsync/plugin/options.py",
            "        return \"Secret('…')\"\n",
            '        return f"Secret({self._text!r})"\n',
        ),
    ),
    _mutation(
        "log lines are written as they are",
        _SECRET,
        "tests/cli/test_logs.py::test_secrets_are_taken_out_in_every_shape",
        ("tconnectsync/cli/logging_setup.py", "line = one_line(self._redactor(line))", "line = one_line(line)"),
    ),
    _mutation(
        "an unexpected failure is told with all that it holds",
        _SECRET,
        "tests/cli/test_cli_commands.py::test_an_unexpected_failure_is_one_line_and_a_private_file_without_secrets",
        (
            "tconnectsync/cli/error_output.py",
            "    redact = invocation.logs.redactor if invocation.logs else str\n",
            "    redact = str\n",
        ),
    ),
    _mutation(
        "the login token is kept where everybody can read it",
        _SECRET,
        "tests/tandem/test_tandem_login.py::test_the_token_is_kept_over_a_restart_in_a_file_for_the_owner_alone",
        (f"{_TANDEM}/token.py", "os.O_EXCL, 0o600)", "os.O_EXCL, 0o644)"),
    ),
    _mutation(
        "what a sensor is paired with is kept in the log",
        _SECRET,
        "tests/tandem/test_binary_records.py::test_what_a_sensor_is_paired_with_is_never_kept",
        (
            f"{_TANDEM}/envelope.py",
            "        record = _without_secrets(record)\n",
            "        pass\n",
        ),
    ),
    # --- 9 a wrong dose is worse than a missing one ---------------------------------------------------------------------
    _mutation(
        "a binary record that lost some of its bytes is read with its neighbour's",
        _DOSE,
        "tests/tandem/test_binary_files.py::test_missing_bytes_cost_the_records_around_them_and_nothing_is_misread",
        (f"{_TANDEM}/binary/splitting.py", "but=1 if aligned else _HELD_BACK", "but=0"),
    ),
    _mutation(
        "a binary field is read from its neighbour's place",
        _DOSE,
        "tests/tandem/test_binary_records.py::test_every_layout_reads_its_fields_where_the_pump_wrote_them",
        (
            f"{_TANDEM}/binary/layouts.py",
            "correction u16 8, extendedDurationRequested u16 14, deliveredTotal u16 12",
            "correction u16 8, extendedDurationRequested u16 12, deliveredTotal u16 14",
        ),
    ),
    _mutation(
        "a reading that is HIGH or LOW is a number",
        _DOSE,
        "tests/tandem/test_tandem_decode.py::test_high_and_low_are_marks_and_never_numbers",
        (
            f"{_TANDEM}/decode/glucose.py",
            'glucose_mg_dl=glucose if mark == "value" else None',
            "glucose_mg_dl=glucose or 0",
        ),
    ),
    _mutation(
        "a rate of 65535 is a rate",
        _DOSE,
        "tests/tandem/test_tandem_decode.py::test_basal_comes_in_milliunits_and_65535_is_no_rate",
        (
            f"{_TANDEM}/decode/fields.py",
            "RATE_MU_PER_H = number(0, 65_534, none=(65_535,), per_unit=1000)",
            "RATE_MU_PER_H = number(0, 65_535, per_unit=1000)",
        ),
    ),
    _mutation(
        "an interrupted bolus counts what was requested",
        _DOSE,
        "tests/nightscout/test_fold_boluses.py::test_the_captured_bolus_that_was_cancelled_early",
        (
            f"{_NIGHTSCOUT}/bolus_parts.py",
            (
                '            told["immediate"] = Part(\n'
                "                mark=mark,\n"
                "                received_at=event.received_at,\n"
                "                status=body.status,\n"
                "                delivered_u=_number(body.delivered_u),\n"
            ),
            (
                '            told["immediate"] = Part(\n'
                "                mark=mark,\n"
                "                received_at=event.received_at,\n"
                "                status=body.status,\n"
                "                delivered_u=_number(body.requested_u, body.delivered_u),\n"
            ),
        ),
    ),
    _mutation(
        "a bolus is told before the pump said how much was delivered",
        _DOSE,
        "tests/nightscout/test_fold_boluses.py::test_without_an_end_there_is_no_treatment_but_a_word_of_it",
        (
            f"{_NIGHTSCOUT}/bolus_documents.py",
            "    amounts = bolus.amounts\n    if amounts is None or not (bolus.over or bolus.immediate_over):\n",
            "    amounts = bolus.amounts or (bolus.now_u or bolus.total_u or 0.0, 0.0)\n    if amounts is None:\n",
        ),
    ),
    _mutation(
        "an amount that no pump gives is sent",
        _DOSE,
        "tests/nightscout/test_fold_boluses.py::test_an_amount_that_cannot_be_is_set_aside",
        (
            f"{_NIGHTSCOUT}/bolus_documents.py",
            "if not possible(value, 0.0, MAX_BOLUS_U + _TOLERANCE_U):",
            "if value < 0:",
        ),
    ),
    _mutation(
        "insulin is rounded to 0.01 U",
        _DOSE,
        "tests/nightscout/test_fold_basal.py::test_the_drawn_rate_is_what_the_rules_say_in_every_second",
        (
            f"{_NIGHTSCOUT}/documents.py",
            "    return round(float(value), 3) + 0.0\n",
            "    return round(float(value), 2) + 0.0\n",
        ),
    ),
    _mutation(
        "a rate that goes on is drawn as far as it is believed at most",
        _DOSE,
        "tests/nightscout/test_fold_basal.py::test_equal_rates_are_one_document_that_reaches_the_newest_record",
        (
            f"{_NIGHTSCOUT}/stretches.py",
            "return ahead if self.until is None else min(ahead, self.until)",
            "return self.until or ahead",
        ),
    ),
    _mutation(
        "what goes on is shown from what is folded so far, while later events wait",
        _DOSE,
        "tests/engine/test_rules_damage.py::test_the_harm_stops_the_fold_that_needs_it_and_nothing_else",
        (_FOLDING, "            if not outbox.has_marks(stream, name, since=interval):\n", "            if True:\n"),
    ),
    _mutation(
        "a suspension ends by silence",
        _DOSE,
        "tests/nightscout/test_fold_basal.py::test_a_suspension_is_zero_until_the_pump_resumes_however_silent",
        (
            f"{_NIGHTSCOUT}/basal.py",
            "        suspended=True,\n        reason=body.reason,\n",
            "        suspended=True,\n        until=mark.at + CONFIRMED_FOR,\n        reason=body.reason,\n",
        ),
    ),
    # --- time -----------------------------------------------------------------------------------------------------------
    _mutation(
        "clock changes are ignored",
        _TIME,
        "tests/timeline/test_timeline_clock.py::test_a_flight_and_the_way_back",
        (
            "tconnectsync/timeline/pump_clock.py",
            "    steps = steps_of(sets)\n    unexplained",
            "    steps = steps_of(())\n    unexplained",
        ),
    ),
    _mutation(
        "one upload is evidence enough to move a clock",
        _TIME,
        "tests/timeline/test_timeline_anchors.py::test_uploads_that_do_not_suffice_say_nothing",
        (
            _ANCHORING,
            "    if len(supporters) < QUORUM or supporters[-1].at - supporters[0].at < QUORUM_SPAN:\n",
            "    if not supporters:\n",
        ),
    ),
    _mutation(
        "a clock is moved without a word beforehand",
        _TIME,
        "tests/timeline/test_timeline_anchors.py::test_the_upload_that_completes_the_quorum_only_proposes",
        (_ANCHORING, "confirmed=before_s == offset_s", "confirmed=True"),
    ),
    _mutation(
        "the host's clock is believed where it is behind the log",
        _TIME,
        "tests/engine/test_engine.py::test_a_computer_whose_clock_is_behind_the_log_waits",
        (
            _POLLING,
            "            and now < newest[0].received_at - CLOCK_TOLERANCE\n",
            "            and self.source is None\n",
        ),
    ),
    _mutation(
        "documents of the future are sent at once",
        _TIME,
        "tests/engine/test_delivery.py::test_documents_of_the_future_wait",
        (
            _SENDING,
            "ms, horizon = milliseconds(now), milliseconds(now + timedelta(minutes=5))",
            "ms, horizon = milliseconds(now), 1 << 62",
        ),
    ),
    # --- several sources and pumps --------------------------------------------------------------------------------------
    _mutation(
        "rows without numbers count beside the numbered events",
        _NUMBERED,
        "tests/timeline/test_placement.py::test_rows_without_numbers_are_ignored_only_where_numbered_events_are",
        (_PLACEMENT, "covered = () if stream.numbered else self._covered_of(stream)", "covered = ()"),
    ),
    _mutation(
        "a pump that is not worn is drawn beside the worn one",
        _PUMPS,
        "tests/timeline/test_placement.py::"
        "test_the_new_pump_takes_over_where_it_shows_a_first_mark_and_the_old_one_ends_there",
        (_PLACEMENT, "attrs.evolve(placement, worn=worn[id_])", "attrs.evolve(placement, worn=worn[id_] and ALWAYS)"),
    ),
    # --- brakes ---------------------------------------------------------------------------------------------------------
    _mutation(
        "any number of rewrites of the past is sent",
        _BRAKES,
        "tests/engine/test_engine.py::test_too_many_rewrites_of_the_past_wait_for_the_user",
        (_KEEPING, 'if rewrites > self.rewrite_brake and not self.outbox.get("consent"):', "if rewrites < 0:"),
    ),
    _mutation(
        "the gap of a repaired log does not forbid withdrawals",
        _BRAKES,
        "tests/engine/test_brakes.py::test_a_gap_takes_nothing_back_and_lets_go_once_its_days_were_fetched_again",
        (
            _FOLDING,
            "self.outbox.settle(name, stream, keep=view.gaps)",
            "self.outbox.settle(name, stream)",
        ),
    ),
    _mutation(
        "a new site address is taken without a word",
        _BRAKES,
        "tests/engine/test_engine.py::test_a_new_site_address_stops_the_sink_until_a_replay",
        (
            "tconnectsync/outbox/preflight.py",
            '        if known in ("", address):\n',
            "        if isinstance(known, str):\n",
        ),
    ),
    _mutation(
        "what was to be taken back from the old site is taken from the new one",
        _BRAKES,
        "tests/engine/test_rules_sites.py::test_what_waits_to_be_taken_back_from_the_old_site_is_never_taken_from_a_new_one",
        (_SENDING, '        self._db.execute("DELETE FROM document WHERE want IS NULL OR fold IS NULL")\n', ""),
    ),
    _mutation(
        "a site that holds an older bridge's documents is filled at once",
        _INHABITED,
        "tests/engine/test_engine.py::test_an_inhabited_site_is_left_alone_until_the_user_says_so",
        (
            "tconnectsync/outbox/preflight.py",
            "        return None if hold is None else Stay(hold=hold)\n",
            "        return None\n",
        ),
    ),
    _mutation(
        "adopt goes on where nobody can tell",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_without_record_numbers_amount_and_time_decide_and_what_is_unclear_waits_for_the_user",
        (
            "tconnectsync/jobs/dispatch.py",
            "        if seen.unclear and not keep_unclear:\n",
            "        if False:\n",
        ),
    ),
    _mutation(
        "adopt of some days before the first delivery",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_some_days_alone_are_not_replaced_before_ours_were_delivered",
        (
            "tconnectsync/jobs/dispatch.py",
            "    if (first or last) and keeper.admission.unseen() is not None:\n",
            "    if False:\n",
        ),
    ),
    _mutation(
        "the consent to a place lasts for good",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_the_consent_ends_with_the_look_that_it_was_for",
        (
            "tconnectsync/outbox/preflight.py",
            '            if outbox.get("adopted") == ONCE:\n',
            "            if False:\n",
        ),
    ),
    _mutation(
        "a fold that is switched on later is believed to be known there",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_a_fold_that_is_switched_on_later_meets_the_older_bridges_documents_held",
        (
            "tconnectsync/outbox/preflight.py",
            "        return bool(admitted) and not set(self.folds) <= set(admitted.split())\n",
            "        return False\n",
        ),
    ),
    _mutation(
        "what adopt left counts as an inhabited site for good",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_what_adopt_left_holds_nothing_up_after_a_silence_or_a_wiped_disk",
        (
            "plugins/tconnectsync_nightscout/delivery/receiver.py",
            "                if at is None or not covered.holds(slot_of(item), at):\n",
            "                if True:\n",
        ),
    ),
    _mutation(
        "record numbers prove something against documents without any",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_an_older_bridges_numbers_are_no_proof_against_a_source_that_has_none",
        (
            "plugins/tconnectsync_nightscout/delivery/legacy_documents.py",
            "            if by_number is not False or not near:\n",
            "            if True:\n",
        ),
    ),
    _mutation(
        "a site is not looked over after a long silence",
        _INHABITED,
        "tests/e2e/test_migrating.py::test_back_to_the_older_bridge_and_here_again",
        (
            "tconnectsync/outbox/preflight.py",
            "        return (first, everything) if self._was_silent() else None\n",
            "        return None\n",
        ),
    ),
    _mutation(
        "a deletion is believed without a look",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_a_site_that_deletes_nothing_is_found_out_before_ours_are_sent",
        (
            "plugins/tconnectsync_nightscout/delivery/receiver.py",
            "        if stayed:\n",
            "        if False:\n",
        ),
    ),
    _mutation(
        "an older bridge that still writes is not told",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_an_older_bridge_that_still_writes_is_noticed",
        (
            "tconnectsync/reconcile/comparison.py",
            "        if not span.foreign or not can_adopt(self.receiver):\n",
            "        if True:\n",
        ),
    ),
    _mutation(
        "carbs are not compared",
        _INHABITED,
        "tests/e2e/test_adopt.py::test_without_record_numbers_amount_and_time_decide_and_what_is_unclear_waits_for_the_user",
        (
            "plugins/tconnectsync_nightscout/delivery/legacy_documents.py",
            " and abs(grams[0] - grams[1]) < 0.6\n",
            "\n",
        ),
    ),
    _mutation(
        "verify takes away what another installation made",
        _ONCE,
        "tests/engine/test_verifying.py::test_what_another_installation_made_is_foreign",
        ("tconnectsync/reconcile/comparison.py", "found if self._speaks_of(copy) else", "found if copy else"),
    ),
    # --- network --------------------------------------------------------------------------------------------------------
    _mutation(
        "refused credentials are tried again and again",
        _NETWORK,
        "tests/engine/test_engine.py::test_refused_credentials_are_not_tried_again_by_themselves",
        (
            _POLLING,
            '        if condition.state == "refused" and condition.mark == self.mark:\n            return None\n',
            '        if condition.state == "refused" and condition.mark == self.mark:\n            return now\n',
        ),
        (
            _POLLING,
            '        if condition.state == "refused" and condition.mark == self.mark:\n            return False\n',
            "",
        ),
    ),
    _mutation(
        "an answer that is no list of documents counts as an empty one",
        _NETWORK,
        "tests/nightscout/test_client_nightscout.py::test_an_answer_that_is_no_list_of_documents_is_an_error_and_never_none",
        (
            f"{_NIGHTSCOUT}/client.py",
            "        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):\n",
            "        if not isinstance(answer, list):\n            return []\n        if not all(isinstance(item, dict) for item in answer):\n",
        ),
    ),
    _mutation(
        "any certificate is accepted",
        _NETWORK,
        "tests/nightscout/test_client_nightscout.py::test_a_certificate_is_verified_unless_that_is_turned_off",
        (
            "tconnectsync/plugin/http.py",
            '            "verify": None if self._verify_tls else False,',
            '            "verify": False,',
        ),
    ),
    _mutation(
        "of what lasts over midnight only the day that is due is read",
        _DOSE,
        "tests/sources/test_source_contract.py::test_a_poll_that_is_killed_is_gone_on_with_and_ends_in_the_same_log[tconnect-8]",
        (f"{_TCONNECT}/plan.py", "    due |= {day - _DAY for day in due if day > start}", "    due |= set()"),
    ),
    _mutation(
        "days without any data end the sleep that goes on",
        _DOSE,
        "tests/tconnect/test_tconnect_merging.py::test_days_without_any_data_do_not_end_a_sleep",
        (
            f"{_TCONNECT}/merging.py",
            "*told, *csv_told))), default=None)",
            "*told, *csv_told))), default=None)\n    newest = newest and max(newest, datetime.combine(answers.first, time()))",
        ),
    ),
    _mutation(
        "an account is read although it is another pump's",
        _DOSE,
        "tests/tconnect/test_tconnect_source.py::test_a_serial_number_that_is_not_the_accounts_is_refused_before_anything_is_written",
        (f"{_TCONNECT}/source.py", "if told and self.pump not in told:", "if False:"),
    ),
    _mutation(
        "days are written down although their readings are another pump's",
        _DOSE,
        "tests/tconnect/test_tconnect_source.py::test_days_whose_readings_are_of_another_pump_are_not_written_down",
        (f"{_TCONNECT}/source.py", "if told and not told & set(self.options.pumps):", "if False:"),
    ),
    _mutation(
        "days that failed are not read again with what ends in the days after",
        _DURABLE,
        "tests/tconnect/test_tconnect_source.py::test_days_that_always_fail_keep_no_newer_days_back",
        (f"{_TCONNECT}/source.py", "after_partial = follows(partial, window)", "after_partial = False"),
    ),
    _mutation(
        "boluses that cannot be read are no boluses",
        _DOSE,
        "tests/tconnect/test_tconnect_source.py::test_boluses_that_lack_what_counts_are_filled_from_the_export_or_told",
        (f"{_TCONNECT}/source.py", "if found.is_changed:", "if False:"),
    ),
    _mutation(
        "of two tellings of a row, the one with more digits counts",
        _REVISIONS,
        "tests/eventlog/test_log_contract.py::TestEventLogOnDisk::test_a_row_that_was_corrected_is_as_it_was_read_last",
        ("tconnectsync/eventlog/codec.py", "read_us = 0 if event.seq is not None else", "read_us = 0 if True else"),
    ),
    _mutation(
        "a bolus whose end is told with another time is two",
        _REVISIONS,
        "tests/tconnect/test_tconnect_documents.py::test_an_end_that_is_told_otherwise_later_is_one_bolus_and_the_last_telling_counts",
        (
            f"{_NIGHTSCOUT}/bolus_parts.py",
            "if event.seq is None and any(_row(key) == _row(mark.key) for key in bolus.sources):",
            "if False:",
        ),
    ),
    _mutation(
        "of two tellings of a bolus's end, the one with the later time counts",
        _REVISIONS,
        "tests/tconnect/test_tconnect_documents.py::test_an_end_that_is_told_otherwise_later_is_one_bolus_and_the_last_telling_counts",
        (
            f"{_NIGHTSCOUT}/bolus_parts.py",
            "return end is not None and event.seq is None and (",
            "return False and end is not None and event.seq is None and (",
        ),
    ),
    _mutation(
        "a bolus is where it was asked for only if it was read before it ended",
        _FACTS,
        "tests/tconnect/test_tconnect_documents.py::test_a_bolus_is_the_same_whether_it_was_asked_for_before_it_ended_or_not",
        (
            f"{_TCONNECT}/boluses.py",
            "    if at is None or (ended is not None and at >= ended.at):",
            "    if at is None or ended is not None:",
        ),
    ),
)
