-- Releases holds and removes their orders from the queue. Only the call that deletes the hold acts. One round trip, O(orders). May run twice.
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 queued  6 unpaid
-- ARGV  1 "1" to count each order as left unpaid, else "0"  2.. order ids
-- Returns 0 DONE, 1 GATE_MISSING, 2 REBUILDING
if redis.call('HEXISTS', KEYS[1], 'allocated') == 0 or redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
if redis.call('HEXISTS', KEYS[1], 'rebuilding') == 1 then return 2 end
local has_queued = redis.call('EXISTS', KEYS[5]) == 1
local back = 0
for i = 2, #ARGV do
  local order = ARGV[i]
  local hold = redis.call('HGET', KEYS[3], order)
  if hold then
    local customer, units = hold:match('^(%d+):(%d+)')
    units = tonumber(units)
    back = back + units
    redis.call('HDEL', KEYS[3], order)
    if redis.call('HINCRBY', KEYS[4], customer, -units) <= 0 then redis.call('HDEL', KEYS[4], customer) end
    if ARGV[1] == '1' then redis.call('HINCRBY', KEYS[6], customer, 1) end
    if has_queued then unqueue(KEYS[5], customer, order) end
  end
end
if back > 0 then redis.call('INCRBY', KEYS[2], back) end
return 0
