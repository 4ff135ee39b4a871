-- Part of a script: a customer's place in an item's waiting room. O(log line).
-- line: customer -> arrival, which is their number. kept: the same, of customers away or called up without fetching the token.
-- seen: time of the last poll of both; _FAR while the number is above meta's line_near, because no poll is expected yet.
local _FAR = '9000000000000000'

local function is_far(keys, customer)
  local arrival, near = redis.call('ZSCORE', keys.line, customer), redis.call('HGET', keys.meta, 'line_near')
  return arrival and near and tonumber(arrival) > tonumber(near) -- without line_near, a customer who polls counts as near
end

local function leave(keys, customer)
  for _, key in ipairs({keys.seen, keys.line, keys.called, keys.kept}) do redis.call('ZREM', key, customer) end
  redis.call('HDEL', keys.tickets, customer)
end

local function lapse(keys, customer)
  leave(keys, customer)
  redis.call('HINCRBY', keys.meta, 'line_lapsed', 1)
end

-- New customers join at the end, even if the arrival counter was lost but the line was not.
local function arrive(keys, customer)
  local is_away = redis.call('ZSCORE', keys.kept, customer) and redis.call('ZSCORE', keys.seen, customer)
  if is_away or redis.call('ZSCORE', keys.line, customer) then return end -- the ticket was lost, the place was not
  local arrival = redis.call('HINCRBY', keys.meta, 'line_joined', 1)
  local last = tonumber(redis.call('ZRANGE', keys.line, -1, -1, 'WITHSCORES')[2] or '0')
  if arrival <= last then
    arrival = last + 1
    redis.call('HSET', keys.meta, 'line_joined', string.format('%.0f', arrival))
  end
  redis.call('ZREM', keys.kept, customer)
  redis.call('ZADD', keys.line, string.format('%.0f', arrival), customer)
end

-- Records a poll. A customer who was away gets their place back; returns false if they were away for too long.
local function is_there(keys, customer, now, keep)
  local last = redis.call('ZSCORE', keys.seen, customer)
  if last and tonumber(last) < now - keep then
    lapse(keys, customer)
    return false
  end
  local arrival = redis.call('ZSCORE', keys.kept, customer)
  if arrival and tonumber(redis.call('ZSCORE', keys.called, customer) or '0') <= now then
    redis.call('ZADD', keys.line, 'NX', arrival, customer) -- NX: a process of a release without kept places may have added them
    redis.call('ZREM', keys.kept, customer)
    redis.call('ZREM', keys.called, customer)
  end
  -- A customer who has fetched the token is no longer expected to poll.
  if last or arrival or redis.call('ZSCORE', keys.line, customer) then
    redis.call('ZADD', keys.seen, is_far(keys, customer) and _FAR or string.format('%.0f', now), customer)
  end
  return true
end
