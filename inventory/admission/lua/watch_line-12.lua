-- Lets the waiting room's line move, and says what all who stand in it may know. One trip, O(log line); no write while nobody waits.
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 queued  6 admitted  7 line  8 seen  9 called  10 kept  11 tickets  12 turns
-- ARGV  1 lapse us  2 how long a place is kept, us  3 now in us, '' for the server's clock
-- Returns {15 WAITING, served: numbers up to it had their turn, near: numbers up to it lose their place if not heard, units left,
--       pace us, all who wait, called up, units per customer}  {4 GATE_MISSING}  {5 NOT_OPEN}  {7 ENDED}  {13 SOLD_OUT}
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding', 'pace', 'per_customer')
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local keys = {meta = KEYS[1], line = KEYS[7], seen = KEYS[8], called = KEYS[9], kept = KEYS[10], tickets = KEYS[11], turns = KEYS[12]}
local refusal = meta[1] and closed(meta, now)
local is_paused = refusal == 6
if refusal and not is_paused then return {refusal} end
if not meta[1] or not is_paused and not is_whole(unpack(KEYS, 1, 6)) then return {4} end
local left = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), 0)
if not is_paused and left <= 0 and redis.call('EXISTS', KEYS[3]) == 0 then return {13} end
local pace, times = tonumber(meta[5] or '1'), {lapse = tonumber(ARGV[1]), keep = tonumber(ARGV[2])}
if redis.call('EXISTS', keys.seen, keys.called, keys.kept) > 0 then
  call_up(keys, now, is_paused and 0 or left, pace, times)
end
local numbers = redis.call('HMGET', KEYS[1], 'line_served', 'line_near')
return {15, numbers[1] or '0', numbers[2] or '0', left, pace, redis.call('ZCARD', keys.line), redis.call('ZCARD', keys.called),
  tonumber(meta[6] or '1')}
