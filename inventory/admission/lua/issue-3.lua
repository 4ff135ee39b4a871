-- Issues a purchase token. One trip, O(1).
-- KEYS  1 meta  2 stock  3 token
-- ARGV  1 customer  2 ttl in seconds
-- Returns {0 ADMITTED, expiry in microseconds} or {4 GATE_MISSING | 5 NOT_OPEN | 6 PAUSED | 7 ENDED | 13 SOLD_OUT}
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding')
if not meta[1] then return {4} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refusal = closed(meta, now)
if refusal then return {refusal} end
if tonumber(redis.call('GET', KEYS[2]) or '0') <= 0 then return {13} end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
return {0, string.format('%.0f', now + tonumber(ARGV[2]) * 1000000)}
