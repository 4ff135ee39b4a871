-- Part of a script: advances the line. Handles at most 32 lapsed places, 32 ended turns, 128 newly near and 64 call-ups per run.
-- A customer who has not polled for times.lapse us is passed over, or their turn goes to the next customer. They keep their
-- place until they have not polled for times.keep us. This applies only to customers whose number is near.
local _MOST_TURNS = 100000 -- kept for the report

local function call_up(keys, now, stock, pace, times)
  local function until_then(key, score) return ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', score, 'LIMIT', 0, 32)) end
  local near = come_near(keys, now, pace, times)
  for _, customer in until_then(keys.seen, string.format('(%.0f', now - times.keep)) do
    -- An older release notes when they last asked, and no more.
    if is_far(keys, customer) then redis.call('ZADD', keys.seen, _FAR, customer) else lapse(keys, customer) end
  end
  for _, customer in until_then(keys.called, string.format('%.0f', now)) do
    local has_not_come = redis.call('ZSCORE', keys.kept, customer) and redis.call('ZSCORE', keys.seen, customer)
    if has_not_come then redis.call('ZREM', keys.called, customer) else leave(keys, customer) end
  end
  local known = redis.call('HMGET', keys.meta, 'line_slot', 'line_served')
  local slot, served = tonumber(known[1] or '0'), tonumber(known[2] or '0')
  -- An empty line saves up no turns. A line that is polled late may catch up one second.
  if redis.call('EXISTS', keys.line) == 0 or stock <= 0 then slot = math.max(slot, now) end
  slot = math.max(slot, now - 1000000)
  local free = math.min(32, math.max(2 * stock, 10) - redis.call('ZCARD', keys.called))
  local taken, called, most = 0, 0, math.min(64, redis.call('ZCOUNT', keys.line, '-inf', string.format('%.0f', near)))
  while stock > 0 and free > 0 and slot <= now and taken < most do
    local first = redis.call('ZPOPMIN', keys.line)
    taken, served = taken + 1, math.max(served, tonumber(first[2]))
    redis.call('ZADD', keys.kept, first[2], first[1])
    if tonumber(redis.call('ZSCORE', keys.seen, first[1]) or '0') > now - times.lapse then
      redis.call('ZADD', keys.called, string.format('%.0f', now + times.lapse), first[1])
      redis.call('RPUSH', keys.turns, string.format('%s %s %.0f', first[1], first[2], now))
      free, slot, called = free - 1, slot + pace, called + 1
    end
  end
  if called > 0 then
    redis.call('LTRIM', keys.turns, -_MOST_TURNS, -1)
    redis.call('HINCRBY', keys.meta, 'line_called', called)
  end
  redis.call('HSET', keys.meta, 'line_slot', string.format('%.0f', slot), 'line_served', string.format('%.0f', served))
  return free > 0 and stock > 0 and slot <= now and taken < 64
end

-- The token of a called-up customer. It expires one turn after it is fetched.
local function take_turn(keys, customer, now, turn_s, token)
  local until_us = tonumber(redis.call('ZSCORE', keys.called, customer))
  if redis.call('ZSCORE', keys.seen, customer) then
    until_us = now + turn_s * 1000000
    redis.call('SET', keys.token, customer, 'EX', turn_s)
    pin(keys.tokens, token, turn_s, now, present_terms(keys.meta))
    redis.call('ZADD', keys.called, string.format('%.0f', until_us), customer)
    for _, key in ipairs({keys.seen, keys.kept}) do redis.call('ZREM', key, customer) end
  end
  return {0, string.format('%.0f', until_us)}
end
