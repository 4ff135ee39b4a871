-- Part of a script: the twin of sliding_log.py. p: code, binding, limit, window us, sub-limit, sub-window us. The key is a list, newest first.
local function sliding_log(key, p, cost, now)
  local function at(index) return tonumber(redis.call('LINDEX', key, index)) end
  local length = redis.call('LLEN', key)
  -- Counts the newest entries after a given time.
  local function later(moment)
    local low, high = 0, length
    while low < high do
      local middle = math.floor((low + high) / 2)
      if at(middle) > moment then low = middle + 1 else high = middle end
    end
    return low
  end
  local live = later(now - p[4])
  if live == 0 then
    redis.call('DEL', key)
  elseif live < length then
    redis.call('LTRIM', key, 0, live - 1)
  end
  length = live
  -- Entries in the future, from before the clock was set back, count as now.
  local future = later(now)
  for index = 0, future - 1 do redis.call('LSET', key, index, string.format('%.0f', now)) end

  local function room(limit, window, count)
    if count + cost <= limit then return limit - count, 0 end
    return math.max(0, limit - count), at(limit - cost) + window - now
  end
  local fits, retry = room(p[3], p[4], live)
  if p[5] > 0 then
    local sub_fits, sub_retry = room(p[5], p[6], later(now - p[6]))
    fits, retry = math.min(fits, sub_fits), math.max(retry, sub_retry)
  end
  if retry > 0 then return {0, 0, fits, retry, at(0) + p[4] - now} end
  local push = {'LPUSH', key}
  for index = 1, cost do push[index + 2] = string.format('%.0f', now) end
  return {1, 0, fits - cost, 0, p[4]}, push, {'PEXPIRE', key, math.ceil(p[4] / 1000)}
end
