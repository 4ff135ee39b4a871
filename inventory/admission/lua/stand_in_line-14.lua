-- The waiting room: joins the line or polls a ticket; returns the purchase token after the call-up. One round trip, O(log line).
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 queued  6 admitted  7 line  8 seen  9 called  10 kept  11 tickets  12 turns  13 token  14 tokens
-- ARGV  1 customer  2 ticket: a new one to join with, or the one to poll  3 'join' or 'ask'
--       4 length of a turn in s  5 lapse us  6 time a place is kept, us  7 now in us, '' for Redis's clock  8 token
-- Returns {0 ADMITTED, expiry us}  {15 WAITING, ahead, units left, pace us, ticket, customers waiting, called up, units per customer, number}
--       {17 CALLED_UP, ticket: an earlier one, to poll}  {16 TICKET_LAPSED}  {4 GATE_MISSING}  {5 NOT_OPEN}  {6 PAUSED}  {7 ENDED}  {11 LIMIT_PER_CUSTOMER}  {13 SOLD_OUT}
local customer, is_ask = ARGV[1], ARGV[3] == 'ask'
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding', 'pace', 'per_customer')
local now = tonumber(ARGV[7])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local keys = {meta = KEYS[1], line = KEYS[7], seen = KEYS[8], called = KEYS[9], kept = KEYS[10], tickets = KEYS[11], turns = KEYS[12],
  token = KEYS[13], tokens = KEYS[14]}
local times = {lapse = tonumber(ARGV[5]), keep = tonumber(ARGV[6])}
local refusal = meta[1] and closed(meta, now)
local is_paused = refusal == 6
if refusal and not is_paused then return {refusal} end
local own = redis.call('HGET', keys.tickets, customer)
if meta[1] and is_ask and own ~= ARGV[2] then return {16} end
if own and not is_there(keys, customer, now, times.keep) then
  own = nil
  if is_ask then return {16} end
end
if not meta[1] or not is_paused and not is_whole(unpack(KEYS, 1, 6)) then return {4} end
if is_paused and not own then return {6} end
local left = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), 0)
local stock = is_paused and 0 or left
if not is_paused and stock <= 0 and redis.call('EXISTS', KEYS[3]) == 0 then return {13} end
if not is_paused and tonumber(redis.call('HGET', KEYS[4], customer) or '0') >= tonumber(meta[6]) then
  leave(keys, customer)
  return {is_ask and 16 or 11}
end
local pace = tonumber(meta[5] or '1')
local may_pass = call_up(keys, now, stock, pace, times)
local until_us = tonumber(redis.call('ZSCORE', keys.called, customer) or '0')
local has_place = until_us > now or redis.call('ZSCORE', keys.line, customer)
if own and not has_place and redis.call('ZSCORE', keys.seen, customer) then -- the line was lost
  arrive(keys, customer)
elseif own and not has_place then -- the turn is over
  leave(keys, customer)
  own = nil
  if is_ask then return {16} end
end
if not own then
  own = ARGV[2]
  redis.call('HSET', keys.tickets, customer, own)
  arrive(keys, customer)
  come_near(keys, now, pace, times)
  is_there(keys, customer, now, times.keep)
  if may_pass then call_up(keys, now, stock, pace, times) end
end
local ahead = redis.call('ZRANK', keys.line, customer)
if ahead then
  return {15, ahead, left, pace, own, redis.call('ZCARD', keys.line), redis.call('ZCARD', keys.called), tonumber(meta[6] or '1'),
    redis.call('ZSCORE', keys.line, customer)}
end
if own ~= ARGV[2] then return {17, own} end
return take_turn(keys, customer, now, ARGV[4], ARGV[8])
