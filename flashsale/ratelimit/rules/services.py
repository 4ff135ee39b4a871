"""Change rules. Each change is logged in the history and published after the commit."""

from django.db import transaction

from flashsale.ratelimit.rules import publish
from flashsale.ratelimit.rules.models import BreakerRule, LimitRule, RuleChange


def save_rule(rule: LimitRule, *, actor: str) -> None:
    """Create or change a rule. May run twice.

    Raises:
        ValidationError: the rule is not valid; nothing was saved.
    """
    rule.full_clean()
    with transaction.atomic():
        known = LimitRule.objects.select_for_update().filter(pk=rule.pk).first()
        rule.save()
        before = known.as_rule().as_values() if known else None
        _record(rule.name, actor, before, rule.as_rule().as_values())


def delete_rule(rule: LimitRule, *, actor: str) -> None:
    """Delete a rule. May run twice."""
    with transaction.atomic():
        deleted, _ = LimitRule.objects.filter(pk=rule.pk).delete()
        if deleted:
            _record(rule.name, actor, rule.as_rule().as_values(), None)


def save_breaker(rule: BreakerRule, *, actor: str) -> None:
    """Create or change the rule of a circuit breaker. May run twice.

    Raises:
        ValidationError: invalid rule; nothing was saved.
    """
    rule.full_clean()
    with transaction.atomic():
        known = BreakerRule.objects.select_for_update().filter(pk=rule.pk).first()
        rule.save()
        _record(rule.name, actor, known.as_values() if known else None, rule.as_values())


def delete_breaker(rule: BreakerRule, *, actor: str) -> None:
    """Delete the rule of a circuit breaker; its defaults are in force again. May run twice."""
    with transaction.atomic():
        deleted, _ = BreakerRule.objects.filter(pk=rule.pk).delete()
        if deleted:
            _record(rule.name, actor, rule.as_values(), None)


def _record(name: str, actor: str, before: object, after: object) -> None:
    if before != after:
        RuleChange.objects.create(rule=name, actor=actor, before=before, after=after)
    transaction.on_commit(publish.publish)
