-- Part of a script: the twin of sliding_log.py. p: code, binding, limit, window us, sub-limit, sub-window us. The key is a list, newest first.
local function sliding_log(key, p, cost, now)
  local function at(index) return tonumber(redis.call('LINDEX', key, index)) end
  local live = redis.call('LLEN', key)
  while live > 0 and at(-1) <= now - p[4] do
    redis.call('RPOP', key)
    live = live - 1
  end
  -- What passed before the clock stepped back counts as of now.
  local future = 0
  while future < live and at(future) > now do future = future + 1 end
  for index = 0, future - 1 do redis.call('LSET', key, index, string.format('%.0f', now)) end

  local function room(limit, window, count)
    if count + cost <= limit then return limit - count, 0 end
    return math.max(0, limit - count), at(limit - cost) + window - now
  end
  local fits, retry = room(p[3], p[4], live)
  if p[5] > 0 then
    local low, high = 0, live
    while low < high do
      local middle = math.floor((low + high) / 2)
      if at(middle) > now - p[6] then low = middle + 1 else high = middle end
    end
    local sub_fits, sub_retry = room(p[5], p[6], low)
    fits, retry = math.min(fits, sub_fits), math.max(retry, sub_retry)
  end
  if retry > 0 then return {0, 0, fits, retry, at(0) + p[4] - now} end
  local push = {'LPUSH', key}
  for index = 1, cost do push[index + 2] = string.format('%.0f', now) end
  return {1, 0, fits - cost, 0, p[4]}, push, {'PEXPIRE', key, math.ceil(p[4] / 1000)}
end
