# U-Boot's script on the boot partition: takes a try from the next slot in ORDER that has tries left, and boots it.
# State (ORDER, A_LEFT, B_LEFT) is one checksummed sector in the gap before the first partition: written whole or not
# at all. Linux gives the tries back when the slot proved good (pillarbox-slot good).
echo "pillarbox: boot.scr on ${devtype} ${devnum}"

# Addresses: Debian's 51 MB kernel overruns U-Boot's defaults, booti unpacks the whole of it at kernel_comp_addr_r, and
# QEMU's raspi boards put the device tree at 128 MB. These fit all of them and stay below 256 MB.
if itest.l ${kernel_addr_r} -ge 0x40000000; then setenv rb 0x40000000; else setenv rb 0x0; fi
setexpr ld ${rb} + 0x00200000
setexpr kernel_comp_addr_r ${rb} + 0x0c000000
setenv kernel_comp_size 0x04000000
setexpr rd ${rb} + 0x0a000000
setexpr st ${rb} + 0x09f00000

setenv loadstate "${devtype} read ${st} @STATE_SECTOR@ 1; env import -c ${st} 0x200 ORDER A_LEFT B_LEFT"
setenv storestate "env export -c -s 0x200 ${st} ORDER A_LEFT B_LEFT; ${devtype} write ${st} @STATE_SECTOR@ 1"
${devtype} dev ${devnum}
run loadstate
test -n "${ORDER}" || setenv ORDER "A B"
test -n "${A_LEFT}" || setenv A_LEFT 3
test -n "${B_LEFT}" || setenv B_LEFT 3
echo "pillarbox: ORDER=${ORDER} A_LEFT=${A_LEFT} B_LEFT=${B_LEFT}"

setenv slot
for s in ${ORDER}; do
  if test -n "${slot}"; then true;
  elif test "${s}" = A; then
    if itest ${A_LEFT} -gt 0; then setexpr A_LEFT ${A_LEFT} - 1; run storestate;
      if load ${devtype} ${devnum}:2 ${ld} boot/Image.gz && load ${devtype} ${devnum}:2 ${rd} boot/initrd; then setenv rdsz ${filesize}; setenv slot A; fi; fi
  elif test "${s}" = B; then
    if itest ${B_LEFT} -gt 0; then setexpr B_LEFT ${B_LEFT} - 1; run storestate;
      if load ${devtype} ${devnum}:3 ${ld} boot/Image.gz && load ${devtype} ${devnum}:3 ${rd} boot/initrd; then setenv rdsz ${filesize}; setenv slot B; fi; fi
  fi
done
# No tries left anywhere: a box that keeps trying can still heal (a loose cable, a power cut at each start).
if test -z "${slot}"; then echo "pillarbox: no slot has tries left, filling them up"; setenv A_LEFT 3; setenv B_LEFT 3; run storestate; reset; fi

if test -n "${fdt_addr}"; then setenv fdt ${fdt_addr}; else setenv fdt ${fdtcontroladdr}; fi
fdt addr ${fdt}
setenv fwargs
fdt get value fwargs /chosen bootargs
# No console= on purpose: each board's device tree names its own serial line, and the first name that does not fit would
# keep the kernel from trying the next. The screen is written to by name (tty1).
setenv bootargs "${fwargs} pillarbox.slot=${slot} systemd.getty_auto=no loglevel=4 panic=10 quiet"
echo "pillarbox: booting slot ${slot}"
booti ${ld} ${rd}:${rdsz} ${fdt}
echo "pillarbox: booti failed"
reset
