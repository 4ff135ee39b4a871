-- Part of a script: lets the line move. Bounded: at most 32 lapsed, 32 turns over and 64 taken from the line a time.
-- Whoever has not asked for the lapse time loses the place, or the turn; the next in line takes it.
local function leave(keys, customer)
  for _, key in ipairs({keys.seen, keys.line, keys.called}) do redis.call('ZREM', key, customer) end
  redis.call('HDEL', keys.tickets, customer)
end

-- Newcomers stand behind everybody, also where the count of arrivals was lost and the line was not.
local function arrive(keys, customer, now)
  local arrival = redis.call('HINCRBY', keys.meta, 'line_joined', 1)
  local last = tonumber(redis.call('ZRANGE', keys.line, -1, -1, 'WITHSCORES')[2] or '0')
  if arrival <= last then
    arrival = last + 1
    redis.call('HSET', keys.meta, 'line_joined', string.format('%.0f', arrival))
  end
  redis.call('ZADD', keys.line, string.format('%.0f', arrival), customer)
  redis.call('ZADD', keys.seen, string.format('%.0f', now), customer)
end

local function call_up(keys, now, stock, pace, lapse)
  for _, customer in ipairs(redis.call('ZRANGEBYSCORE', keys.seen, '-inf', now - lapse, 'LIMIT', 0, 32)) do
    leave(keys, customer)
    redis.call('HINCRBY', keys.meta, 'line_lapsed', 1)
  end
  for _, customer in ipairs(redis.call('ZRANGEBYSCORE', keys.called, '-inf', now, 'LIMIT', 0, 32)) do leave(keys, customer) end
  local slot = tonumber(redis.call('HGET', keys.meta, 'line_slot') or '0')
  -- A line that is empty or has nothing to wait for saves no turns up; one that is asked about late may catch up a second.
  if redis.call('EXISTS', keys.line) == 0 or stock <= 0 then slot = math.max(slot, now) end
  slot = math.max(slot, now - 1000000)
  local free = math.min(32, math.max(2 * stock, 10) - redis.call('ZCARD', keys.called))
  local taken = 0
  while stock > 0 and free > 0 and slot <= now and taken < 64 do
    local first = redis.call('ZPOPMIN', keys.line)
    if not first[1] then break end
    taken = taken + 1
    if tonumber(redis.call('ZSCORE', keys.seen, first[1]) or '0') <= now - lapse then -- gone: no turn is spent on them
      leave(keys, first[1])
      redis.call('HINCRBY', keys.meta, 'line_lapsed', 1)
    else
      redis.call('ZADD', keys.called, string.format('%.0f', now + lapse), first[1])
      redis.call('RPUSH', keys.turns, string.format('%s %s %.0f', first[1], first[2], now))
      free, slot = free - 1, slot + pace
    end
  end
  redis.call('HSET', keys.meta, 'line_slot', string.format('%.0f', slot))
  return free > 0 and stock > 0 and slot <= now and taken < 64
end
