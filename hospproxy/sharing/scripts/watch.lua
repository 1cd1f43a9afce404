-- Whether the caller still holds a claim, and what others have changed or created since it was made. ARGV[6]: '1' if the caller has
-- found that the process that made the claim is gone (on the same machine, so that the caller has its ledger).
local w = read(ref)
if not w or w.s == 'over' or w.g or now - w.c > 7000000 then return {'ok', mark, 'lost'} end
if w.m ~= me then
  if ARGV[6] ~= '1' or machine(w.m) ~= machine(me) then return {'ok', mark, 'lost'} end
  -- The client that waited for the response has lost it with that process.
  w.m, w.l = me, 1
  write(ref, w)
end
-- Include records created just before the claim: by their date they may have been created after it.
local found = redis.call('ZRANGEBYSCORE', touched, w.c - 60000, now, 'WITHSCORES', 'LIMIT', 0, 5001)
if #found > 10000 then return {'ok', mark, 'lost'} end
local own, about = {}, ' ' .. ARGV[5] .. ' '
for i = 1, #found, 2 do
  local one, at = found[i], tonumber(found[i + 1])
  if string.sub(one, 2, 1 + #about) == about and (at >= w.c or string.sub(one, 1, 1) == 'c') then own[#own + 1] = one end
end
return {'ok', mark, 'mine', own}
