-- Gives held units back; whoever deletes the hold acts. One trip, O(orders). May run twice.
-- KEYS  1 meta  2 stock  3 held  4 buyers
-- ARGV  1 'release', or 'void' when the ledger never had the units: then only a negative stock is raised
--       2.. order ids
-- Returns 0 DONE, 1 GATE_MISSING, 2 REBUILDING
if redis.call('HEXISTS', KEYS[1], 'allocated') == 0 then return 1 end
if redis.call('HEXISTS', KEYS[1], 'rebuilding') == 1 then return 2 end
for i = 2, #ARGV do
  local hold = redis.call('HGET', KEYS[3], ARGV[i])
  if hold then
    local customer, units = hold:match('^(%d+):(%d+)$')
    units = tonumber(units)
    redis.call('HDEL', KEYS[3], ARGV[i])
    if redis.call('HINCRBY', KEYS[4], customer, -units) <= 0 then redis.call('HDEL', KEYS[4], customer) end
    local back = units
    if ARGV[1] == 'void' then
      back = math.min(units, math.max(0, -tonumber(redis.call('GET', KEYS[2]) or '0')))
    end
    redis.call('INCRBY', KEYS[2], back)
  end
end
return 0
