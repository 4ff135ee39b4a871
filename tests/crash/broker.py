"""The broker of one doomed process: what it had sent and what it held, taken away to be delivered later."""

import json

import redis
from celery import current_app
from django.conf import settings


class Broker:
    """Database ``number`` of the tests' broker; 0 is everybody's."""

    def __init__(self, number):
        self.url = f"{settings.CELERY_BROKER_URL.rsplit('/', 1)[0]}/{number}"

    def send(self, task, *args):
        """Publish here and nowhere else."""
        with current_app.connection_for_write(self.url) as connection:
            task.apply_async(args=args, connection=connection)

    def take(self):
        """All messages, as (queue, message): those in the queues, and those somebody held when it died."""
        with redis.Redis.from_url(self.url) as client:
            waiting = [(queue, raw) for queue in settings.QUEUES for raw in client.lrange(queue, 0, -1)]
            held = [json.loads(raw) for raw in client.hvals("unacked")]
            client.flushdb()
        return waiting, [(queue, json.dumps(message)) for message, _exchange, queue in held]

    def put(self, messages):
        """Deliver messages that were taken elsewhere."""
        with redis.Redis.from_url(self.url) as client:
            for queue, raw in messages:
                client.lpush(queue, raw)

    def unfinished(self):
        """What waits or is being done, delayed cancellations apart: they wait for a deadline."""
        with redis.Redis.from_url(self.url) as client:
            held = [json.loads(raw)[0]["headers"]["task"] for raw in client.hvals("unacked")]
            waiting = {queue: length for queue in settings.QUEUES if (length := client.llen(queue))}
        return waiting, [task for task in held if task != "tasks.cancel_unpaid"]
