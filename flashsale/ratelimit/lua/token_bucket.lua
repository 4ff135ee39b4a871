-- Part of a script: the twin of token_bucket.py. p: code, binding, interval us, tolerance us, warm-up ms.
local function token_bucket(key, p, cost, now)
  local step, tolerance, warm_ms = p[3], p[4], p[5]
  local depth = warm_ms > 0 and 3 * tolerance or tolerance
  local stored = redis.call('GET', key)
  local tat, since = now, now
  local function state(first, second)
    return string.format(warm_ms > 0 and '%.0f %.0f' or '%.0f', first, second)
  end
  if stored then
    local first, second = stored:match('^(%d+) ?(%d*)$')
    tat = tonumber(first)
    if warm_ms > 0 and now - tat < warm_ms * 1000 then since = tonumber(second) or now end
    if tat > now + depth or since > now then
      tat, since = math.min(tat, now + depth), math.min(since, now)
      redis.call('SET', key, state(tat, since), 'KEEPTTL')
    end
  end
  if warm_ms > 0 then
    local warmth = warm_ms + 2 * math.min(math.floor((now - since) / 1000), warm_ms)
    step = math.floor(step * 3 * warm_ms / warmth)
    tolerance = math.max(math.floor(tolerance * warmth / (3 * warm_ms)), step)
  end
  local debt = math.max(tat - now, 0)
  local after = debt + step * cost
  local room = math.max(tolerance, step * cost)
  if after > room then
    return {0, 0, math.max(0, math.floor((tolerance - debt) / step)), after - room, debt}
  end
  local ttl = math.ceil(after / 1000) + warm_ms
  return {1, 0, math.max(0, math.floor((tolerance - after) / step)), 0, after}, {'SET', key, state(now + after, since), 'PX', ttl}
end
