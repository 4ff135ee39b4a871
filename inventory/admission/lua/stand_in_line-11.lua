-- The waiting room: a place in the item's line, and the purchase token of whoever is called up. One trip, O(log line).
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 line  6 seen  7 called  8 tickets  9 turns  10 token  11 tokens
-- ARGV  1 customer  2 ticket: a new one to join with, or the one that is asked about  3 'join' or 'ask'
--       4 how long a turn lasts, s  5 lapse us  6 now in us, '' for the server's clock  7 token
-- Returns {0 ADMITTED, expiry us}  {15 WAITING, ahead, units left, pace us, ticket, all who wait, called up, units per customer}
--       {17 CALLED_UP, ticket: an earlier one, to be asked about}  {16 TICKET_LAPSED}
--       {4 GATE_MISSING}  {5 NOT_OPEN}  {6 PAUSED}  {7 ENDED}  {11 LIMIT_PER_CUSTOMER}  {13 SOLD_OUT}
local customer = ARGV[1]
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding', 'pace', 'per_customer')
if not meta[1] then return {4} end
local now = tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local refusal = closed(meta, now)
local is_paused = refusal == 6
if refusal and not is_paused then return {refusal} end
local stock = tonumber(redis.call('GET', KEYS[2]) or '0')
if not is_paused and stock <= 0 and redis.call('EXISTS', KEYS[3]) == 0 then return {13} end
local pace = tonumber(meta[5] or '1')
local keys = {meta = KEYS[1], line = KEYS[5], seen = KEYS[6], called = KEYS[7], tickets = KEYS[8], turns = KEYS[9]}
local own = redis.call('HGET', KEYS[8], customer)
if ARGV[3] == 'ask' and own ~= ARGV[2] then return {16} end
if is_paused and not own then return {6} end
if not is_paused and tonumber(redis.call('HGET', KEYS[4], customer) or '0') >= tonumber(meta[6]) then
  leave(keys, customer)
  return {ARGV[3] == 'ask' and 16 or 11}
end
if own then redis.call('ZADD', KEYS[6], 'XX', string.format('%.0f', now), customer) end
local may_pass = call_up(keys, now, is_paused and 0 or stock, pace, tonumber(ARGV[5]))
own = redis.call('HGET', KEYS[8], customer)
local until_us = tonumber(redis.call('ZSCORE', KEYS[7], customer) or '0')
if own and until_us <= now and not redis.call('ZSCORE', KEYS[5], customer) then
  leave(keys, customer)
  own = nil
end
if not own and ARGV[3] == 'ask' then return {16} end
if not own then
  own = ARGV[2]
  redis.call('HSET', KEYS[8], customer, own)
  arrive(keys, customer, now)
  if may_pass then call_up(keys, now, stock, pace, tonumber(ARGV[5])) end
end
local ahead = redis.call('ZRANK', KEYS[5], customer)
if ahead then
  return {15, ahead, math.max(stock, 0), pace, own, redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[7]), tonumber(meta[6] or '1')}
end
if own ~= ARGV[2] then return {17, own} end

until_us = tonumber(redis.call('ZSCORE', KEYS[7], customer))
if redis.call('ZSCORE', KEYS[6], customer) then
  until_us = now + ARGV[4] * 1000000
  redis.call('SET', KEYS[10], customer, 'EX', ARGV[4])
  pin(KEYS[11], ARGV[7], ARGV[4], now, present_terms(KEYS[1]))
  redis.call('ZADD', KEYS[7], string.format('%.0f', until_us), customer)
  redis.call('ZREM', KEYS[6], customer)
end
return {0, string.format('%.0f', until_us)}
