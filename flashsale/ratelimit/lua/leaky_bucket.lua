-- Part of a script: the twin of leaky_bucket.py. p: code, binding, interval us, longest wait us.
local function leaky_bucket(key, p, cost, now)
  local interval, max_wait = p[3], p[4]
  local wait = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
  if wait > max_wait + interval then
    wait = max_wait + interval
    redis.call('SET', key, string.format('%.0f', now + wait), 'KEEPTTL')
  end
  local last = wait + (cost - 1) * interval
  local fits = wait <= max_wait and math.floor((max_wait - wait) / interval) + 1 or 0
  if last > max_wait then return {0, 0, fits, last - max_wait, wait} end
  local after = last + interval
  return {1, wait, fits - cost, 0, after}, {'SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000)}
end
