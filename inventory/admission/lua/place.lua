-- Part of a script: a customer's place in an item's line. O(log line).
-- line: customer -> arrival, which is their number. kept: the same, of those who are away, or called up and not come.
-- seen: when they last asked, of both; _FAR while their number is over meta's line_near, because nobody need hear from them yet.
local _FAR = '9000000000000000'

local function is_far(keys, customer)
  local arrival, near = redis.call('ZSCORE', keys.line, customer), redis.call('HGET', keys.meta, 'line_near')
  return arrival and near and tonumber(arrival) > tonumber(near) -- where near was lost, whoever asks now is near
end

local function leave(keys, customer)
  for _, key in ipairs({keys.seen, keys.line, keys.called, keys.kept}) do redis.call('ZREM', key, customer) end
  redis.call('HDEL', keys.tickets, customer)
end

local function lapse(keys, customer)
  leave(keys, customer)
  redis.call('HINCRBY', keys.meta, 'line_lapsed', 1)
end

-- Newcomers stand behind everybody, also where the count of arrivals was lost and the line was not.
local function arrive(keys, customer)
  local is_away = redis.call('ZSCORE', keys.kept, customer) and redis.call('ZSCORE', keys.seen, customer)
  if is_away or redis.call('ZSCORE', keys.line, customer) then return end -- their ticket was lost, their place was not
  local arrival = redis.call('HINCRBY', keys.meta, 'line_joined', 1)
  local last = tonumber(redis.call('ZRANGE', keys.line, -1, -1, 'WITHSCORES')[2] or '0')
  if arrival <= last then
    arrival = last + 1
    redis.call('HSET', keys.meta, 'line_joined', string.format('%.0f', arrival))
  end
  redis.call('ZREM', keys.kept, customer)
  redis.call('ZADD', keys.line, string.format('%.0f', arrival), customer)
end

-- Notes that somebody with a ticket asks. Whoever was away is back where they were; false when that was for too long.
local function is_there(keys, customer, now, keep)
  local last = redis.call('ZSCORE', keys.seen, customer)
  if last and tonumber(last) < now - keep then
    lapse(keys, customer)
    return false
  end
  local arrival = redis.call('ZSCORE', keys.kept, customer)
  if arrival and tonumber(redis.call('ZSCORE', keys.called, customer) or '0') <= now then
    redis.call('ZADD', keys.line, 'NX', arrival, customer) -- there already: a process that knows no kept places put them there
    redis.call('ZREM', keys.kept, customer)
    redis.call('ZREM', keys.called, customer)
  end
  -- Whoever has come for their turn is not looked for.
  if last or arrival or redis.call('ZSCORE', keys.line, customer) then
    redis.call('ZADD', keys.seen, is_far(keys, customer) and _FAR or string.format('%.0f', now), customer)
  end
  return true
end
