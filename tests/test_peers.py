"""What ``make bench`` computes: ratios, process trees, wrk's summary, and the tables of the page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.peers.figures import Failed, Spread, quantile, ratios, read_wrk, table
from benchmarks.peers.instructions import Script, a_request, summary_instructions
from benchmarks.peers.paced_load import Broken, status_and_length
from benchmarks.peers.process_tree import Process, parse_stat, pss_bytes, ticks, tree, wants_to_run
from benchmarks.peers.profile import part_of, shares
from benchmarks.peers.tables import BEGIN, END, inserted, page

STAT = "{pid} ({name}) S {parent} 1 {session} 0 -1 4194304 9 9 9 9 {user} {system} {child} {childs} 20 0 1 0 99 0 0"
REPORT = (
    'HITS {"requests": 1200, "us": 2000000, "p50": 1500.0, "p99": 20500.5, "status": 0, "connect": 0, "read": 0,'
    ' "write": 0, "timeout": 0}'
)


def process(pid: int, parent: int, session: int, used: int = 0, reaped: int = 0) -> Process:
    return Process(pid, parent, session, used, reaped)


FOUND = {
    "hospproxy": {"us": [60.0, 40.0], "rate": [10.0, 12.0], "p50": [1.0, 1.0], "p99": [2.0, 2.0]},
    "nginx": {"us": [30.0, 10.0], "rate": [90.0, 99.0], "p50": [1.0, 1.0], "p99": [2.0, 2.0]},
}


class TreeTests(SynchronousTestCase):
    def test_a_stat_line_is_read(self) -> None:
        line = STAT.format(
            pid=7, name="tmux: (x) y", parent=3, session=5, user=10, system=20, child=300, childs=4000
        )
        self.assertEqual(parse_stat(line), Process(7, 3, 5, 30, 4300))

    def test_other_text_is_refused(self) -> None:
        for line in ("", "7 (cat) S 3", "nothing"):
            self.assertRaises(ValueError, parse_stat, line)

    def test_descendants_belong_to_a_tree(self) -> None:
        below = [process(11, 10, 10), process(12, 11, 12)]
        everything = [process(1, 0, 1), process(10, 1, 10), *below, process(20, 1, 20)]
        self.assertEqual([each.pid for each in tree(everything, [10])], [10, 11, 12])

    def test_a_daemon_whose_parent_ended_belongs_to_its_session(self) -> None:
        everything = [process(1, 0, 1), process(13, 1, 10), process(14, 13, 13)]
        self.assertEqual([each.pid for each in tree(everything, [10])], [13, 14])

    def test_each_process_counts_once(self) -> None:
        """A root may be the child of another root."""
        everything = [process(10, 1, 10, 5), process(11, 10, 11, 7, 2)]
        self.assertEqual(ticks(everything, [10, 11]), 14)

    def test_other_processes_do_not_count(self) -> None:
        self.assertEqual(ticks([process(10, 1, 10, 5), process(20, 1, 20, 100)], [10]), 5)

    def test_a_thread_that_gets_no_core_still_has_work(self) -> None:
        for state, expected in {"R": True, "D": True, "S": False, "Z": False, "I": False}.items():
            self.assertEqual(wants_to_run(f"9 (R) {state} 1 9 9 0"), expected, state)

    def test_memory_is_the_proportional_one(self) -> None:
        self.assertEqual(pss_bytes("Rss:   900 kB\nPss:      12 kB\nPss_Anon:  4 kB\n"), 12 * 1024)
        self.assertEqual(pss_bytes(""), 0)


class FigureTests(SynchronousTestCase):
    def test_ratios_are_taken_round_by_round(self) -> None:
        """The second round was slow for both: that is no spread of the ratio."""
        self.assertEqual(ratios([10, 100, 30], [5, 50, 10]), Spread(2, 2, 3))

    def test_rounds_that_do_not_match_are_refused(self) -> None:
        self.assertRaises(ValueError, ratios, [1.0], [1.0, 2.0])
        self.assertRaises(ValueError, ratios, [1.0], [0.0])
        self.assertRaises(ValueError, ratios, [], [])

    @given(st.lists(st.floats(0.1, 1e6), min_size=1))
    def test_a_median_lies_between_the_extremes(self, values: list[float]) -> None:
        spread = Spread.of(values)
        self.assertTrue(spread.low <= spread.middle <= spread.high)

    def test_a_spread_is_shown_with_its_extremes(self) -> None:
        self.assertEqual(Spread(1234.5, 2, 30000).show(1), "1,234.5 (2.0-30,000.0)")
        self.assertEqual(Spread(2, 2, 2).show(), "2.00")

    def test_a_report_of_wrk_is_read(self) -> None:
        load = read_wrk(f"Running 2s test\n{REPORT}\n")
        self.assertEqual((load.requests, load.rate, load.p50_s, load.p99_s), (1200, 600.0, 0.0015, 0.0205005))

    def test_a_failed_request_fails_the_run(self) -> None:
        for name in ("status", "connect", "read", "write", "timeout"):
            broken = REPORT.replace(f'"{name}": 0', f'"{name}": 1')
            self.assertIn(name, str(self.assertRaises(Failed, read_wrk, broken)))

    def test_a_run_without_a_report_or_a_response_fails(self) -> None:
        self.assertRaises(Failed, read_wrk, "unable to connect")
        self.assertRaises(Failed, read_wrk, REPORT.replace("1200", "0"))

    def test_quantiles_are_of_the_values(self) -> None:
        self.assertEqual([quantile([1, 2, 3, 4], share) for share in (0, 0.5, 0.99, 1)], [1, 3, 4, 4])
        self.assertEqual(quantile([], 0.5), 0)

    def test_a_table_has_a_cell_for_each_head(self) -> None:
        self.assertEqual(table(["a", "b"], [["1", "2"]]), "| a | b |\n| --- | --- |\n| 1 | 2 |")
        self.assertRaises(ValueError, table, ["a", "b"], [["1"]])


class PacerTests(SynchronousTestCase):
    def test_the_end_of_a_response_is_known_by_its_length(self) -> None:
        head = b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 3\r\n\r\n"
        self.assertEqual(status_and_length(head + b"a"), (404, len(head) + 3))
        self.assertEqual(status_and_length(head[:-1]), (0, 0))

    def test_a_response_without_a_length_is_refused(self) -> None:
        self.assertRaises(Broken, status_and_length, b"HTTP/1.1 200 OK\r\n\r\n")


class PageTests(SynchronousTestCase):
    def made(self, name: str, found: object) -> str:
        return page("2 cores.", {name: {"rounds": 2, "unit": "5 s for each", "found": found}})

    def test_a_cost_stands_beside_nginx(self) -> None:
        made = self.made("tls-hit", FOUND)
        self.assertIn("| hospproxy | 50 (40-60) | 3.00 (2.00-4.00) | 11 | 1.0, 2.0 |", made)
        self.assertIn("2 rounds of 5 s for each.", made)

    def test_a_peer_that_missed_a_round_has_no_ratio(self) -> None:
        nginx = {figure: values[:1] for figure, values in FOUND["nginx"].items()}
        self.assertIn("| hospproxy | 50 (40-60) |  |", self.made("tls-hit", {**FOUND, "nginx": nginx}))

    def test_a_miss_is_shown_beyond_the_upstreams_own_time(self) -> None:
        found = {
            "none": {"us": [0.0], "rate": [200.0], "p50": [1.0], "p99": [5.0]},
            "nginx": {"us": [7.0], "rate": [199.0], "p50": [1.5], "p99": [9.0]},
        }
        self.assertIn("| nginx | 7 | 199 | 0.5 | 4.0 |", self.made("miss", found))

    def test_a_peer_that_got_too_little_of_the_machine_has_no_times(self) -> None:
        found = {
            "none": {"us": [0.0], "rate": [200.0], "p50": [1.0], "p99": [5.0]},
            "nginx": {"us": [7.0], "rate": [120.0], "p50": [900.0], "p99": [4000.0]},
        }
        self.assertIn("| nginx | 7 | 120 | rate not kept | rate not kept |", self.made("miss", found))

    def test_growth_has_its_size_in_a_column(self) -> None:
        made = self.made("grow-entries", {"hospproxy, 100": {"us": [5.0], "mib": [70.0]}})
        self.assertIn("| hospproxy | 100 | 5 | 70 |", made)

    def test_targets_stand_beside_what_was_found(self) -> None:
        made = self.made("tls-hit", {**FOUND, "Flask + Redis": {**FOUND["nginx"], "rate": [5.0, 4.0]}})
        self.assertIn("| TLS hit, × nginx | 3.00 (2.00-4.00) | ≤ 2.2 | ≤ 1.0 |", made)
        self.assertIn("| TLS hits a second, × Flask + Redis | 2.50 (2.00-3.00) | ≥ 15 | ≥ 30 |", made)
        self.assertNotIn("plain hit", made)

    def test_a_pass_is_counted_by_the_thousand(self) -> None:
        self.assertIn("| pass-through, s for 1,000 | 0.05 (0.04-0.06) |", self.made("pass", FOUND))

    def test_instructions_stand_beside_nginxs(self) -> None:
        found = {"hospproxy": {"instructions": [3_000_000.0]}, "nginx": {"instructions": [50_000.0]}}
        self.assertIn("| hospproxy | 3,000,000 | 60.0 |", self.made("instructions", found))

    def test_trials_that_were_not_run_are_left_out(self) -> None:
        self.assertEqual(page("2 cores.", {}), "2 cores.")

    def test_only_the_part_between_the_marks_is_replaced(self) -> None:
        self.assertEqual(inserted(f"a\n{BEGIN}\nold\n{END}\nz\n", " new "), f"a\n{BEGIN}\nnew\n{END}\nz\n")
        self.assertRaises(ValueError, inserted, "a page", "new")


class ProfileTests(SynchronousTestCase):
    def test_a_file_belongs_to_a_part(self) -> None:
        for name, part in {
            "/x/hospproxy/memory/cache.py": "hospproxy/memory/cache.py",
            "/x/lib/python3.11/site-packages/twisted/internet/tcp.py": "twisted/internet",
            "/x/lib/python3.11/site-packages/attr/_make.py": "attr",
            "/x/lib/python3.11/ssl.py": "standard library",
            "~": "built in",
        }.items():
            self.assertEqual(part_of(name), part)

    def test_shares_are_of_all_time(self) -> None:
        spent = {
            ("~", 0, "len"): 1.0,
            ("/x/hospproxy/service/chain.py", 3, "run"): 2.0,
            ("/x/hospproxy/service/chain.py", 9, "ask"): 1.0,
        }
        self.assertEqual(shares(spent), [("hospproxy/service/chain.py", 0.75), ("built in", 0.25)])


class InstructionTests(SynchronousTestCase):
    def test_a_dump_of_callgrind_says_how_many(self) -> None:
        self.assertEqual(summary_instructions("events: Ir\nfn=(1)\n1 99\nsummary: 12345\n"), 12345)
        self.assertEqual(summary_instructions("totals: 77\n"), 77)
        self.assertRaises(ValueError, summary_instructions, "events: Ir\n")

    def test_a_request_costs_the_difference_of_two_scripts(self) -> None:
        """What happens once, and what timers do meanwhile, cancels out."""
        once, idle, each = 900_000, 1000.0, 5000
        few = Script(200, once + 200 * each + 30_000, 30.0)
        many = Script(1200, once + 1200 * each + 90_000, 90.0)
        self.assertEqual(a_request(many, few, idle), each)
        self.assertRaises(ValueError, a_request, few, few, idle)
