-- Part of a script: finds whose number comes near, at most 128 a run.
-- Numbers are near that the pace calls up within times.keep. Whoever comes near is away until they are heard.
local function come_near(keys, now, pace, times)
  local near, ahead = tonumber(redis.call('HGET', keys.meta, 'line_near') or '0'), math.ceil(times.keep / math.max(pace, 1)) - 1
  local last = redis.call('ZRANGE', keys.line, ahead, ahead, 'WITHSCORES')
  if not last[1] then last = redis.call('ZRANGE', keys.line, -1, -1, 'WITHSCORES') end
  if tonumber(last[2] or '0') <= near then return near end
  local coming = redis.call('ZRANGEBYSCORE', keys.line, string.format('(%.0f', near), last[2], 'WITHSCORES', 'LIMIT', 0, 128)
  for i = 1, #coming, 2 do
    local heard = tonumber(redis.call('ZSCORE', keys.seen, coming[i]) or _FAR)
    if heard >= tonumber(_FAR) then redis.call('ZADD', keys.seen, string.format('%.0f', now - times.lapse), coming[i]) end
  end
  redis.call('HSET', keys.meta, 'line_near', coming[#coming])
  return tonumber(coming[#coming])
end
