-- Part of a script: lets the line move. Bounded: at most 32 lapsed, 32 turns over and 64 taken from the line a time.
-- Whoever has not asked for times.lapse us is away: passed over, or their turn passes on, and the next in line takes it. They keep
-- their place until they have not asked for times.keep us.
local _MOST_TURNS = 100000 -- that the report looks at

local function call_up(keys, now, stock, pace, times)
  local function until_then(key, score) return ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', score, 'LIMIT', 0, 32)) end
  for _, customer in until_then(keys.seen, string.format('(%.0f', now - times.keep)) do lapse(keys, customer) end
  for _, customer in until_then(keys.called, string.format('%.0f', now)) do
    local has_not_come = redis.call('ZSCORE', keys.kept, customer) and redis.call('ZSCORE', keys.seen, customer)
    if has_not_come then redis.call('ZREM', keys.called, customer) else leave(keys, customer) end
  end
  local slot = tonumber(redis.call('HGET', keys.meta, 'line_slot') or '0')
  -- A line that is empty or has nothing to wait for saves no turns up; one that is asked about late may catch up a second.
  if redis.call('EXISTS', keys.line) == 0 or stock <= 0 then slot = math.max(slot, now) end
  slot = math.max(slot, now - 1000000)
  local free = math.min(32, math.max(2 * stock, 10) - redis.call('ZCARD', keys.called))
  local taken, called = 0, 0
  while stock > 0 and free > 0 and slot <= now and taken < 64 do
    local first = redis.call('ZPOPMIN', keys.line)
    if not first[1] then break end
    taken = taken + 1
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
  redis.call('HSET', keys.meta, 'line_slot', string.format('%.0f', slot))
  return free > 0 and stock > 0 and slot <= now and taken < 64
end

-- The token of somebody who is called up: from when they come for it, it lasts as long as a turn.
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
