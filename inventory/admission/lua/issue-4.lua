-- Issues a purchase token, which fixes the current terms. One round trip, O(1); O(tokens) at the customer's token limit.
-- KEYS  1 meta  2 stock  3 token  4 the customer's tokens
-- ARGV  1 customer  2 ttl in seconds  3 token  4 limit of tokens per customer and item
-- Returns {0 ADMITTED, expiry in microseconds}, {14 RATE_LIMITED, microseconds to retry after}
--       or {4 GATE_MISSING | 5 NOT_OPEN | 6 PAUSED | 7 ENDED | 13 SOLD_OUT}
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding')
if not meta[1] then return {4} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refusal = closed(meta, now)
if refusal then return {refusal} end
local stock = tonumber(redis.call('GET', KEYS[2]) or '')
if not stock then return {4} end
if stock <= 0 then return {13} end
local wait = wait_for_place(KEYS[4], tonumber(ARGV[4]), now)
if wait > 0 then return {14, wait} end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
pin(KEYS[4], ARGV[3], ARGV[2], now, present_terms(KEYS[1]))
return {0, string.format('%.0f', now + tonumber(ARGV[2]) * 1000000)}
