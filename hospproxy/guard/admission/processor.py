"""Limit what one client may do: delay password guesses and limit request rates.

Clients that HOSP has accepted are never delayed by what others do, neither for the shared address (a whole hospital
may have one) nor for the account.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ...exchange.exchange import Exchange
from ...http.errors import TooMany
from ...http.messages import Origin, Response
from ...http.repeat import Holds, LimitAgain, Repeat
from ...interfaces import IMeter, IProcessor, ProceedTo
from ...memory.accounts import Accounts
from ...options.admission_section import AdmissionSettings
from ...process.single_flight import SingleFlight
from ...sharing.kinds import ALONE, Sharing
from ...sharing.news import CredentialsAccepted, LoginResult, News, TokensUsed
from ..credentials import Credentials, parse_basic
from .claim_keys import ClaimKeys, LoginAttempt
from .delay_queue import DelayReason, WaitingGuesses, too_many
from .key_limits import DelayRule, FailedGuesses, TokenBuckets
from .peer_reports import MOST_KEYS, PeerReports
from .refusals import RefusalCache

COUNTED_S = 600.0
"""A password that fails again within these seconds is not a new guess: a device with an old password repeats it."""
KEY_BYTES = 32
"""Length of client keys in bytes; they are HMAC-SHA-256."""


class KnownCredentials:
    """A bounded set; beyond its bound it drops the member that was added or renewed longest ago.

    :param most: number of members.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._since: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._since)

    def since(self, key: bytes) -> float | None:
        """Return when the key was added (monotonic seconds); None if it is not a member."""
        return self._since.get(key)

    def add(self, key: bytes, now: float) -> bool:
        """Add a key, or renew its time; return whether it is new."""
        new = key not in self._since
        self._since[key] = now
        if not new:
            self._since.move_to_end(key)
        elif len(self._since) > self._most:
            self._since.popitem(last=False)
        return new

    def discard(self, key: bytes) -> None:
        """Remove a key if it is a member."""
        self._since.pop(key, None)


@implementer(IProcessor)
class Admission:
    """The processor that delays or refuses clients which exceed their limits.

    :param accounts: identities that HOSP has accepted.
    :param refusals: credentials that HOSP has just refused: those are answered from memory without a delay.
    :param clock: monotonic.
    :param sharing: shares the limits with other workers.
    :param workers: number of processes that share them now.
    :param heartbeat_s: seconds between two messages about rates.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        keys: ClaimKeys,
        accounts: Accounts,
        refusals: RefusalCache,
        clock: IReactorTime,
        meter: IMeter,
        sharing: Sharing = ALONE,
        workers: Callable[[], int] = lambda: 1,
        *,
        heartbeat_s: float,
    ) -> None:
        most = settings.max_remembered
        self._settings = settings
        self._keys = keys
        self._accounts = accounts
        self._refusals = refusals
        self._clock = clock
        self._meter = meter
        forgive_s, cap_s = settings.forgive_s, settings.delay_s
        self._by_address = FailedGuesses(DelayRule(settings.address_free, forgive_s, cap_s), most)
        self._by_account = FailedGuesses(DelayRule(settings.account_free, forgive_s, cap_s), most)
        self._credential_rate = TokenBuckets(settings.rate, settings.burst, most)
        self._address_rate = TokenBuckets(settings.address_rate, settings.address_burst, most)
        self._telling = PeerReports(
            sharing, clock, heartbeat_s, workers, self._credential_rate, self._address_rate
        )
        sharing.listen(self._told)
        self._accepted = KnownCredentials(most)
        self._counted = KnownCredentials(most)
        self._trying: dict[bytes, dict[bytes, int]] = {}
        self._waiting = WaitingGuesses(clock)
        self._waits: SingleFlight[None] = SingleFlight()
        meter.gauge("admission_waiting", lambda: float(len(self._waiting)))

    def reload(self, settings: AdmissionSettings) -> None:
        """Apply changed options; failures and tokens that count already stay."""
        self._settings = settings
        forgive_s, cap_s = settings.forgive_s, settings.delay_s
        self._by_address.patience = DelayRule(settings.address_free, forgive_s, cap_s)
        self._by_account.patience = DelayRule(settings.account_free, forgive_s, cap_s)
        self._credential_rate.reload(settings.rate, settings.burst)
        self._address_rate.reload(settings.address_rate, settings.address_burst)

    async def process(self, exchange: Exchange, proceed: ProceedTo[Exchange]) -> Response:
        request = exchange.request
        credentials = parse_basic(request.headers.get(b"authorization"))
        address = request.client.address
        if credentials is None:
            # Without a password nothing can be guessed, and HOSP is not asked.
            self._take(exchange, self._address_rate, self._keys.address(address))
            return await proceed(exchange)
        key = self._keys.known_by(credentials)
        if self._is_accepted(key):
            self._take(exchange, self._credential_rate, key)
            response = await proceed(exchange)
            self._learn_of_known(exchange, credentials, key, response)
            return response
        attempt = self._keys.attempt(address, credentials)
        self._take(exchange, self._address_rate, attempt.address)
        return await self._try(exchange, attempt, proceed)

    def repeat(self, exchange: Exchange, response: Response) -> Repeat:
        """An equal request counts against the same rate, and passes while its credentials are known to be right."""
        request = exchange.request
        credentials = parse_basic(request.headers.get(b"authorization"))
        if credentials is None:
            address = self._keys.address(request.client.address)
            return self._repeat(
                self._address_rate,
                address,
                None,
                lambda now: not self._missing_s(self._address_rate, address, now),
            )
        key, accepts = self._keys.known_by(credentials), _accepts(exchange, response)
        rate, accepted = self._credential_rate, self._accepted

        def holds(_now: float) -> bool:
            return accepted.since(key) is not None or self._is_accepted(key)

        def count(now: float) -> bool:
            if rate.per_s and self._missing_s(rate, key, now):
                return False
            if accepts and accepted.add(key, now):
                self._telling.accepted(key)
            return True

        return self._repeat(rate, key, holds, count)

    def _repeat(self, rate: TokenBuckets, key: bytes, holds: Holds | None, count: Holds) -> Repeat:
        if not self._settings.rate_fields or not rate.per_s:
            return Repeat(holds, count)
        name = self._name_of(rate)
        return LimitAgain(holds=holds, count=count, standing=lambda now: rate.standing(name, key, now))

    def _name_of(self, rate: TokenBuckets) -> bytes:
        return b"user" if rate is self._credential_rate else b"address"

    def _is_accepted(self, key: bytes) -> bool:
        # Also after accounts were cleared as a precaution (any account was changed): HOSP is then asked again, but
        # that is no guess. A client with a password that was right has guessed it already.
        return self._accepted.since(key) is not None or self._accounts.recall(key) is not None

    def _take(self, exchange: Exchange, rate: TokenBuckets, key: bytes) -> None:
        now = self._clock.seconds()
        missing_s = self._missing_s(rate, key, now)
        if missing_s:
            exchange.trace.rule_hits.append("admission:rate")
            self._meter.count("admission_refused_total", reason="rate")
            raise too_many(
                missing_s,
                "Too many requests in a short time; try again later.",
                rate.fields(self._name_of(rate), missing_s),
            )
        if self._settings.rate_fields:
            exchange.trace.limit = partial(self._fields, rate, key)

    def _fields(self, rate: TokenBuckets, key: bytes, now: float) -> tuple[tuple[bytes, bytes], ...]:
        """The RateLimit fields of a response that is no 429; none if there is no limit, or no longer."""
        if not rate.per_s:
            return ()
        name = self._name_of(rate)
        # RateLimit follows X-Request-Id, where a shortcut fills both in (arrival/shortcuts.py).
        return (b"RateLimit", rate.standing(name, key, now)), rate.policy(name)

    def _missing_s(self, rate: TokenBuckets, key: bytes, now: float) -> float:
        """Take a token and report it; return 0, or the seconds until there is one."""
        missing_s = rate.take(key, now)
        if not missing_s:
            self._telling.used(rate, key, now)
        return missing_s

    async def _try(self, exchange: Exchange, attempt: LoginAttempt, proceed: ProceedTo[Exchange]) -> Response:
        """Let credentials pass that are not known to be right, after the delay that is due."""
        trying = self._trying.setdefault(attempt.account, {})
        trying[attempt.credentials] = trying.get(attempt.credentials, 0) + 1

        def learn(answer: Response) -> None:
            self._learn(exchange, attempt, answer)

        try:
            await self._slow_down(exchange, attempt)
            exchange.aftermath.learn_by(learn)
            answer = await proceed(exchange)
            learn(answer)
            return answer
        finally:
            # A client that disconnects is trying a password for as long as HOSP is working on it.
            exchange.aftermath.when_over(lambda: self._tried(attempt))

    def _tried(self, attempt: LoginAttempt) -> None:
        """HOSP has finished with these credentials, as far as this request sent them."""
        trying = self._trying[attempt.account]
        trying[attempt.credentials] -= 1
        if not trying[attempt.credentials]:
            del trying[attempt.credentials]
        if not trying:
            del self._trying[attempt.account]

    async def _slow_down(self, exchange: Exchange, attempt: LoginAttempt) -> None:
        """Delay this request after too many failures, unless it is known whether HOSP accepts its credentials.

        :raise TooMany: too many clients are waiting already.
        """
        if not self._delay_s(attempt) or self._refusals.lately(attempt.credentials):
            return
        if await self._accounts.grace(attempt.credentials) is not None:
            return
        exchange.trace.rule_hits.append("admission:guessing")
        self._meter.count("admission_delayed_total")
        try:
            # Equal credentials wait together: a client that returns sends several requests at once.
            await self._waits.join((attempt.address, attempt.credentials), lambda: self._wait(attempt))
        except TooMany:
            exchange.trace.claimed_name = attempt.name
            self._meter.count("admission_refused_total", reason="guessing")
            raise

    async def _wait(self, attempt: LoginAttempt) -> None:
        now = self._clock.seconds()
        address, account = self._by_address.failures(attempt.address, now), self._failures(attempt, now)
        claims = []
        if self._by_address.patience.delay_s(address):
            claims.append(DelayReason(attempt.address, self._settings.address_waiting, account))
        if self._by_account.patience.delay_s(account):
            claims.append(DelayReason(attempt.account, self._settings.account_waiting, address))
        await self._waiting.wait(claims, self._delay_s(attempt))

    def _delay_s(self, attempt: LoginAttempt) -> float:
        now = self._clock.seconds()
        return max(
            self._by_address.patience.delay_s(self._by_address.failures(attempt.address, now)),
            self._by_account.patience.delay_s(self._failures(attempt, now)),
        )

    def _failures(self, attempt: LoginAttempt, now: float) -> int:
        """Return the failures of an account.

        Other passwords that are being tried count too, or many at once would count as one.
        """
        others = len(self._trying.get(attempt.account, {}).keys() - {attempt.credentials})
        return self._by_account.failures(attempt.account, now) + others

    def _learn(self, exchange: Exchange, attempt: LoginAttempt, response: Response) -> None:
        """Learn from the response whether the credentials were right; also when the client has left."""
        now = self._clock.seconds()
        if response.status == 401:
            self._failed(attempt, now)
        elif _accepts(exchange, response):
            self._note_accepted(attempt.credentials, now)
            # Only for credentials that were unknown: else each request of the victim would clear an attacker's
            # failures.
            if self._by_account.failures(attempt.account, now):
                self._telling.came_back(attempt)
            self._by_account.succeeded(attempt.account)

    def _learn_of_known(
        self, exchange: Exchange, credentials: Credentials, key: bytes, response: Response
    ) -> None:
        """Learn from the response whether credentials that were right are right still."""
        if response.status == 401:
            attempt = self._keys.attempt(exchange.request.client.address, credentials)
            self._failed(attempt, self._clock.seconds())
        elif _accepts(exchange, response):
            self._note_accepted(key, self._clock.seconds())

    def _note_accepted(self, key: bytes, now: float) -> None:
        if self._accepted.add(key, now):
            self._telling.accepted(key)

    def _failed(self, attempt: LoginAttempt, now: float) -> None:
        self._accepted.discard(attempt.credentials)
        if self._is_new(attempt.credentials, now):
            self._telling.failed(attempt)
            self._by_address.failed(attempt.address, now)
            self._by_account.failed(attempt.account, now)
            self._meter.count("admission_failures_total")

    def _is_new(self, credentials: bytes, now: float) -> bool:
        """Whether these credentials have not failed within ``COUNTED_S``; records that they have now."""
        before = self._counted.since(credentials)
        if before is not None and now - before < COUNTED_S:
            return False
        self._counted.add(credentials, now)
        return True

    def stop(self) -> None:
        """Stop sending news to other workers."""
        self._telling.stop()

    def _told(self, news: News) -> None:
        """Take in what other workers report about clients. Keys are checked, because the news comes through Redis."""
        now = self._clock.seconds()
        if isinstance(news, LoginResult):
            self._told_guess(news, now)
        elif isinstance(news, TokensUsed):
            for rate, used in (
                (self._credential_rate, news.credentials),
                (self._address_rate, news.addresses),
            ):
                for key in list(used)[:MOST_KEYS]:
                    if _is_key(key):
                        rate.taken(key, used[key], now)
        elif isinstance(news, CredentialsAccepted):
            for key in filter(_is_key, news.credentials[:MOST_KEYS]):
                self._accepted.add(key, now)

    def _told_guess(self, guess: LoginResult, now: float) -> None:
        if not _is_key(guess.account):
            return
        if not guess.failed:
            self._by_account.succeeded(guess.account)
            return
        if _is_key(guess.credentials):
            self._accepted.discard(guess.credentials)
            if not self._is_new(guess.credentials, now):
                return
        self._by_account.failed(guess.account, now)
        if _is_key(guess.address):
            self._by_address.failed(guess.address, now)


def _is_key(key: bytes) -> bool:
    return len(key) == KEY_BYTES


def _accepts(exchange: Exchange, response: Response) -> bool:
    """Whether this response shows that HOSP accepts these credentials."""
    if exchange.trace.identity is not None:
        return True
    # Without guard.identity, only HOSP's own response shows it, on an operation that requires credentials.
    call = exchange.trace.call
    private = call is not None and not call.operation.public
    return private and response.origin is Origin.UPSTREAM and 200 <= response.status < 300
